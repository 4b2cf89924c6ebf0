"""The embedded cohort: how many patients, of what make, with which hazard."""

from __future__ import annotations

from pydantic import Field

from pipeline.settings.base import Section


class PhantomSettings(Section):
    """The generator of head-and-neck-like PET/CT with known truth.

    The log-hazard is
    `volume * z(log tumour volume) + heterogeneity * z(heterogeneity) + rim * z(rim uptake)
    + clinical * z(performance)`, z against the generator's own population values.
    Weights and seed were fixed before any model was trained.
    """

    seed: int = Field(7, ge=0, lt=2**31, description="Seed of the cohort.")
    development: int = Field(40, ge=4, description="Patients in the development set.")
    external: int = Field(40, ge=0, description="Patients in the external set.")
    ct_shape: tuple[int, int, int] = Field((72, 112, 112), description="CT voxels (z, y, x).")
    ct_spacing_mm: tuple[float, float, float] = Field((3.0, 2.5, 2.5), description="CT voxel (z, y, x).")
    pet_shape: tuple[int, int, int] = Field((54, 72, 72), description="PET voxels (z, y, x).")
    pet_spacing_mm: tuple[float, float, float] = Field((4.0, 4.0, 4.0), description="PET voxel (z, y, x).")
    max_rotation_deg: float = Field(10.0, ge=0, le=45, description="Largest turn about each axis.")
    max_shift_mm: float = Field(15.0, ge=0, le=60, description="Largest shift along each axis.")
    noise: float = Field(0.08, ge=0, description="PET noise: SD relative to local uptake (g/mL).")
    weight_volume: float = Field(0.6, description="Log-hazard per SD of log volume.")
    weight_heterogeneity: float = Field(0.9, description="Log-hazard per SD of heterogeneity.")
    weight_rim: float = Field(0.9, description="Log-hazard per SD of peritumoral uptake.")
    weight_clinical: float = Field(0.5, description="Log-hazard per SD of the clinical column.")
    median_days: float = Field(900.0, gt=0, description="Median survival at log-hazard 0, in days.")
    censoring_days: tuple[float, float] = Field(
        (700.0, 3000.0), description="Censoring is uniform between these days."
    )
