"""The bundle: what leaves the study to predict new patients."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Section


class BundleSettings(Section):
    """What `snakemake bundle` packs."""

    ensemble: str = Field(
        "",
        description="Model or ensemble that is packed; empty: `evaluation.compare_with`, else the first "
        "ensemble, else the first model.",
    )
    threshold: float = Field(
        0.5, gt=0, lt=1, description="Of the tumour probability, averaged over folds, in predicted masks."
    )
