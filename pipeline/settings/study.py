"""Which study this is, and what a patient with bad data does to it."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Policy, Section


class StudySettings(Section):
    """Name, seed and policy of a study."""

    name: str = Field(
        "phantom",
        pattern=r"^[a-z][a-z0-9_-]{1,39}$",
        description="Name of the study; its results lie in `results/{name}/`.",
    )
    title: str = Field("SUVival study", max_length=200, description="Title of the report.")
    note: str = Field(
        "", max_length=2000, description="A warning printed on every figure, e.g. how few the patients are."
    )
    seed: int = Field(20260701, ge=0, lt=2**31, description="Seed of everything that is drawn.")
    on_bad_patient: Policy = Field(
        "exclude",
        description="A patient whose data cannot be trusted: `stop` the run, or `exclude` the "
        "patient, with the reason in the report.",
    )
