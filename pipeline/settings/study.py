"""What belongs to no single stage: the study's name, seed and policy, threads, and what is packed."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Policy, Section


class StudySettings(Section):
    """Name, seed and policy of the study."""

    name: str = Field(
        pattern=r"^[a-z][a-z0-9_-]{1,39}$",
        description="Name of the study: lower-case letters, digits, `-` and `_`; its results lie in "
        "`results/{name}/`.",
    )
    title: str = Field("SUVival study", max_length=200, description="Title of the report.")
    note: str = Field(
        "", max_length=2000, description="A warning printed on every figure, e.g. how few the patients are."
    )
    seed: int = Field(20260701, ge=0, lt=2**31, description="Seed of everything that is drawn at random.")
    on_bad_patient: Policy = Field(
        "exclude",
        description="What happens to a patient whose data cannot be trusted: `stop` ends the run, `exclude` "
        "leaves the patient out, with the reason in the report.",
    )


class ThreadSettings(Section):
    """CPU threads that a job may use; results do not depend on how many jobs run at once."""

    train_fold: int = Field(1, ge=1, description="Number of threads of one fold's training.")
    survival: int = Field(1, ge=1, description="Number of threads of a classical model.")
    radiomics: int = Field(1, ge=1, description="Number of threads of one patient's features.")


class BundleSettings(Section):
    """What `snakemake bundle` packs to predict new patients."""

    ensemble: str = Field(
        "",
        description="Model or ensemble that is packed; empty: `evaluation.compare_with`, else the first "
        "ensemble, else the first model.",
    )
    threshold: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="Threshold of predicted masks: a voxel whose tumour probability, averaged over folds, is "
        "not below it belongs to the tumour.",
    )
