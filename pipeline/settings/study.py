"""What belongs to no single stage: the study's name, seed and policy, threads, resources, and what is packed."""

from __future__ import annotations

from pydantic import Field, field_validator

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


class ResourceSettings(Section):
    """What jobs ask a cluster's scheduler for; no result depends on it."""

    cluster: str = Field(
        "local",
        pattern=r"^(local|(tcp|tls|ws|wss|ucx|inproc)://\S+)$",
        description="Where the parts of large steps are computed: `local`, or the address of a dask scheduler "
        "(`tcp://host:8786`) whose workers can import this checkout and read its files. Tables are the same.",
    )
    container: str = Field(
        "",
        description="Container image that jobs run in with `--software-deployment-method apptainer`: an OCI address "
        "such as `docker://registry/suvival:0.1.0`, or the path of a `.sif` file; empty: none. `make container` "
        "builds one from `envs/Containerfile`.",
    )
    seconds_per_step: dict[str, float] = Field(
        default_factory=dict,
        description="Seconds of one optimiser step by network, `{model: seconds}`: `ms_per_step` of a finished "
        "fold's `timing.json`, over 1000. From them follows the run time that a fold asks for; a network that is "
        "not named has an estimate from its kind, crop, batch and device.",
    )

    @field_validator("seconds_per_step")
    @classmethod
    def _positive(cls, values: dict[str, float]) -> dict[str, float]:
        for name, seconds in values.items():
            if not 0 < seconds < 86400:
                raise ValueError(f"{name}: must be more than 0 and less than a day of 86400 s, got {seconds}")
        return values


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
    in_report: bool = Field(
        False,
        description="Whether the report packs the bundle too, and prints its identity and its model card. "
        "Otherwise only `snakemake bundle` packs one, and the report does not know of it.",
    )
