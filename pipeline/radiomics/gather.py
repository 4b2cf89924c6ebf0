"""The cohort's feature table."""

from __future__ import annotations

from pipeline.radiomics.table import gather_features

__all__ = ["gather_features"]
