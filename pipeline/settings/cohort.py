"""Where the patients, their images and their outcomes come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.settings.base import Section


class CohortTableSettings(Section):
    """The cohort table, its images and outcomes."""

    source: Literal["dicom", "nifti", "slices", "generated"] = Field(
        "dicom",
        description="What the images are: `dicom` or `nifti` folders, 2D `slices` with masks, or arrays `generated` "
        "by this package.",
    )
    table: str = Field(
        description="CSV file with a row per patient; a relative path starts from the working directory.",
    )
    image_root: str = Field(
        ".", description="Folder that the paths in the table's column `image_path` start from."
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="New names of columns of the table: `{name here: name in the table}`.",
    )
    fill: dict[str, str] = Field(
        default_factory=dict,
        description="Values of columns that the table lacks, the same for all patients; `{patient_id}` is replaced by "
        "each one's id. An existing column is never changed.",
    )
    labels: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="Classes of `label_*` columns: `{label: {value in the table: class}}`, classes counted from 0; a "
        "value that is not named is refused, a blank one is unknown. A column without an entry must hold the "
        "classes themselves.",
    )
    time_unit: Literal["days", "months", "none"] = Field(
        "days",
        description="Unit of the table's times; a month is 30.4375 days; `none`: the time has no dimension.",
    )
    endpoint: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        description="Primary endpoint: its outcomes are in the columns `{endpoint}_time_days` and "
        "`{endpoint}_event`; empty: `time_days` and `event`. A table without these columns makes a study "
        "without outcomes, in which no model predicts survival.",
    )
    endpoint_name: str = Field("Event-free survival", description="Name of the endpoint in figures.")

    @field_validator("labels", mode="before")
    @classmethod
    def _codes_are_text(cls, labels: Any) -> Any:
        """YAML reads `1: 0` with a number as key; the table's values are text."""
        if not isinstance(labels, Mapping):
            return labels
        return {
            column: {str(text): number for text, number in codes.items()}
            if isinstance(codes, Mapping)
            else codes
            for column, codes in labels.items()
        }

    @field_validator("labels")
    @classmethod
    def _classes_without_gaps(cls, labels: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        for column, codes in labels.items():
            if not column.startswith("label_"):
                raise ValueError(f"{column!r} must begin with label_")
            if sorted(set(codes.values())) != list(range(len(set(codes.values())))) or len(codes) < 2:
                raise ValueError(
                    f"classes of {column} must be 0, 1, … without a gap, got {list(codes.values())}"
                )
        return labels


class NiftiSettings(Section):
    """How a NIfTI patient's files are named and what they hold."""

    nifti_ct: str = Field(
        "ct*.nii*", description="With source `nifti`: pattern of the name of the CT's file (HU)."
    )
    nifti_pet: str = Field(
        "pet*.nii*", description="With source `nifti`: pattern of the name of the PET's file."
    )
    nifti_pet_quantity: Literal["undeclared", "suvbw"] = Field(
        "undeclared",
        description="With source `nifti`: what the PET's voxels hold. NIfTI cannot say, so the study must; anything "
        "but SUVbw (g/mL) is refused.",
    )
    nifti_max_mib: int = Field(
        2048,
        ge=1,
        description="With source `nifti`: largest size of an image's unpacked values; a larger one is refused.",
    )


class CohortSettings(NiftiSettings, CohortTableSettings):
    """The cohort table and how to read it."""

    def nifti(self) -> NiftiSettings:
        """How files are named and what they hold, without the study's paths."""
        return NiftiSettings.model_validate(self.model_dump(include=set(NiftiSettings.model_fields)))
