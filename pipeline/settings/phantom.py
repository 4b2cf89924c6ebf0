"""The generators: cohorts of phantoms and of disks with known truth."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from pipeline.settings.base import Section


class SecondPathology(Section):
    """A second cancer in the phantom: longer along the body than the first, and with a hazard of its own."""

    share: float = Field(0.5, gt=0, lt=1, description="Share of patients who have it.")
    weight_volume: float = Field(1.2, description="Its log-hazard per SD of the log volume.")
    weight_heterogeneity: float = Field(0.0, description="Its log-hazard per SD of the heterogeneity.")
    weight_rim: float = Field(0.6, description="Its log-hazard per SD of the peritumoral uptake.")
    weight_clinical: float = Field(0.5, description="Its log-hazard per SD of the clinical column.")
    outcome_days: float = Field(
        730.5,
        gt=0,
        description="Of both cancers, column `label_outcome`: 1 = the event occurred by this time. Before the "
        "earliest censoring, so that it is known of everybody.",
    )


class PhantomSettings(Section):
    """The generator of head-and-neck-like PET/CT with known truth.

    The log-hazard is
    `weight_volume * z(log volume) + weight_heterogeneity * z(heterogeneity) + weight_rim * z(rim uptake)
    + weight_clinical * z(performance)`, z against the generator's own population values.
    Weights and seed were fixed before any model was trained.
    """

    seed: int = Field(7, ge=0, lt=2**31, description="Seed of the cohort.")
    development: int = Field(40, ge=4, le=499, description="Number of patients in the development set.")
    external: int = Field(40, ge=0, le=499, description="Number of patients in the external set.")
    images: tuple[Literal["ct", "pet"], ...] = Field(
        ("ct", "pet"),
        min_length=1,
        description="Images that are written; contours are drawn on the CT, or on the PET where there is no CT.",
    )
    contour_nodes: bool = Field(
        False,
        description="Draw the hot lymph nodes as a region of their own, `GTVn`, beside the tumour's `GTVp`.",
    )
    ct_shape: tuple[int, int, int] = Field((80, 112, 112), description="Number of CT voxels (z, y, x).")
    ct_spacing_mm: tuple[float, float, float] = Field((3.0, 2.5, 2.5), description="CT voxel size (z, y, x).")
    pet_shape: tuple[int, int, int] = Field((60, 70, 70), description="Number of PET voxels (z, y, x).")
    pet_spacing_mm: tuple[float, float, float] = Field(
        (4.0, 4.0, 4.0), description="PET voxel size (z, y, x)."
    )
    max_rotation_deg: float = Field(10.0, ge=0, le=45, description="Largest rotation about each axis.")
    max_shift_mm: float = Field(15.0, ge=0, le=60, description="Largest shift along each axis.")
    noise: float = Field(
        0.08, ge=0, le=1, description="SD of the PET's noise as a share of the local uptake."
    )
    ct_noise_hu: float = Field(10.0, ge=0, le=200, description="SD of the CT's noise.")
    weight_volume: float = Field(0.6, description="Log-hazard per SD of the log volume.")
    weight_heterogeneity: float = Field(0.9, description="Log-hazard per SD of the heterogeneity.")
    weight_rim: float = Field(0.9, description="Log-hazard per SD of the peritumoral uptake.")
    weight_clinical: float = Field(0.5, description="Log-hazard per SD of the clinical column.")
    median_days: float = Field(600.0, gt=0, description="Median survival at log-hazard 0.")
    weibull_shape: float = Field(
        1.5, gt=0, description="Shape of the Weibull baseline; 1: a constant hazard, above 1: a rising one."
    )
    second: SecondPathology | None = Field(
        None,
        description="A second cancer beside the first; the table then has the columns `label_pathology` (1 = the "
        "second) and `label_outcome`. None: all patients have the first.",
    )
    censoring_days: tuple[float, float] = Field(
        (1000.0, 3000.0), description="Earliest and latest censoring; its time is uniform between them."
    )

    @field_validator("censoring_days")
    @classmethod
    def _ordered(cls, days: tuple[float, float]) -> tuple[float, float]:
        if not 0 < days[0] <= days[1]:
            raise ValueError("two days, the first above 0 and not after the second")
        return days

    @model_validator(mode="after")
    def _outcome_known(self) -> PhantomSettings:
        if self.second is not None and self.second.outcome_days >= self.censoring_days[0]:
            raise ValueError(
                f"second.outcome_days must lie before the earliest censoring of {self.censoring_days[0]:g} days"
            )
        return self

    @field_validator("ct_shape", "pet_shape", "ct_spacing_mm", "pet_spacing_mm")
    @classmethod
    def _positive(cls, sizes: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(sizes) <= 0:
            raise ValueError("three sizes above 0")
        return sizes


class DiskSettings(Section):
    """The generator of noisy disks whose survival time is their area (seed paper 000)."""

    seed: int = Field(7, ge=0, lt=2**31, description="Seed of the disks.")
    images: int = Field(500, ge=2, le=9999, description="Number of images.")
    development: int = Field(
        400,
        ge=1,
        description="Number of images in the development set; the others are external.",
    )
    size_px: int = Field(240, ge=16, le=2048, description="Side of the square image.")
    radius_px: tuple[float, float] = Field(
        (15.0, 50.0), description="Smallest and largest radius; the area is uniform between those of the two."
    )
    noise: float = Field(0.5, ge=0, description="SD of the image noise, in units of the disk's contrast.")
    time_range: tuple[float, float] = Field(
        (4.0, 11.0), description="Time of the smallest and the largest area (dimensionless)."
    )
    time_noise: float = Field(0.1, ge=0, description="SD of the noise added to the time.")

    @model_validator(mode="after")
    def _possible(self) -> DiskSettings:
        low, high = self.radius_px
        if self.development > self.images:
            raise ValueError("development: at most images")
        if not 0 < low < high <= (self.size_px - 1) / 2:
            raise ValueError("radius_px: 0 < smallest < largest, and the largest disk fits the image")
        if not 0 < self.time_range[0] < self.time_range[1]:
            raise ValueError("time_range: 0 < first < last")
        return self
