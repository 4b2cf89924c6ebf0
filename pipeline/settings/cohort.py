"""Where the patients, their images and their outcomes come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.settings.base import Section


class CohortTableSettings(Section):
    """The cohort table, its images and outcomes."""

    source: Literal["dicom", "nifti", "slices", "generated"] = Field(
        "dicom",
        description="What the images are: DICOM or NIfTI folders, 2D slices with masks, "
        "or arrays made by a generator of this package.",
    )
    table: str = Field(
        description="CSV file with a row per patient; a relative path starts from the working directory.",
    )
    image_root: str = Field(".", description="Folder that `image_path` entries start from.")
    columns: dict[str, str] = Field(
        default_factory=dict, description="Renames columns of the table: `{name here: name in the table}`."
    )
    fill: dict[str, str] = Field(
        default_factory=dict,
        description="Columns the table lacks, with one value for all patients; `{patient_id}` is "
        "replaced. An existing column is never changed.",
    )
    time_unit: Literal["days", "months", "none"] = Field(
        "days", description="Unit of the table's times; 1 month = 30.4375 days; `none`: a dimensionless time."
    )
    endpoint: str = Field(
        "",
        pattern=r"^([a-z][a-z0-9_]*)?$",
        description="Primary endpoint: columns `{endpoint}_time_days` and `{endpoint}_event`; "
        "empty: `time_days` and `event`. A table with no column of a time or an event makes a study "
        "without outcomes: nothing of it predicts survival.",
    )
    endpoint_name: str = Field("Event-free survival", description="The endpoint's name in figures.")


class NiftiSettings(Section):
    """How a NIfTI patient's files are named and what they hold."""

    nifti_ct: str = Field("ct*.nii*", description="Source `nifti`: pattern of the CT in HU.")
    nifti_pet: str = Field("pet*.nii*", description="Source `nifti`: pattern of the PET.")
    nifti_pet_quantity: Literal["undeclared", "suvbw"] = Field(
        "undeclared",
        description="Source `nifti`: what the PET's voxels hold. NIfTI cannot say, so "
        "you must; anything but SUVbw (g/mL) is refused.",
    )
    nifti_max_mib: int = Field(
        2048, ge=1, description="Source `nifti`: an image whose values take more MiB unpacked is refused."
    )


class CohortSettings(NiftiSettings, CohortTableSettings):
    """The cohort table and how to read it."""

    def nifti(self) -> NiftiSettings:
        """How files are named and what they hold, without the study's paths."""
        return NiftiSettings.model_validate(self.model_dump(include=set(NiftiSettings.model_fields)))
