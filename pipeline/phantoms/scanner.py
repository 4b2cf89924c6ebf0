"""The scanners of the phantom: grids, blur, noise and timing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, log

import numpy as np

from pipeline.phantoms.patient import SCANNER_CENTRE_MM, PhantomPatient
from pipeline.phantoms.tumour import FloatArray
from pipeline.settings.phantom import PhantomSettings
from pipeline.volumes.volume import Grid

HALF_LIFE_S = 6586.2
"""Half-life of fluorine-18 as scanners write it."""
PSF_FWHM_MM = {"north": 5.5, "south": 6.5}
NOISE_FWHM_MM = 6.0
BED_S = 180
"""Duration of a bed position."""
SIGMA_PER_FWHM = 1 / (2 * (2 * log(2)) ** 0.5)


@dataclass(frozen=True)
class Timing:
    """Times of injection, of the CT (`study`), and of the start of the PET series and its first bed."""

    injection: datetime
    study: datetime
    pet: datetime

    def decay_to_scan(self) -> float:
        """Decay factor: share of the injected activity that remains at the start of the PET."""
        return exp(-log(2) * (self.pet - self.injection).total_seconds() / HALF_LIFE_S)


def timing(patient: PhantomPatient) -> Timing:
    """Times of a patient, which depend on its number and uptake time alone."""
    injection = datetime(2019, 1, 7, 8, 0) + timedelta(
        days=3 * patient.number, minutes=7 * (patient.number % 40)
    )
    pet = injection + timedelta(seconds=patient.uptake_s)
    return Timing(injection, pet - timedelta(seconds=150), pet)


def suv_factor(patient: PhantomPatient) -> float:
    """SUVbw (g/mL) per Bq/mL: weight in g over the activity left at the start of the PET in Bq."""
    return patient.weight_kg * 1000.0 / (patient.dose_bq * timing(patient).decay_to_scan())


def image_grid(
    patient: PhantomPatient, shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> Grid:
    """The scanner's grid, its middle at the centre of the field of view."""
    centre = SCANNER_CENTRE_MM[patient.centre]
    origin = [c - (n - 1) / 2 * s for c, n, s in zip(centre, shape[::-1], spacing_mm[::-1], strict=True)]
    return Grid(shape, spacing_mm, (origin[0], origin[1], origin[2]))


def measure_ct(clean: FloatArray, patient: PhantomPatient, settings: PhantomSettings) -> FloatArray:
    """CT with noise, in HU (z, y, x)."""
    rng = np.random.default_rng([settings.seed, patient.number, 2])
    noisy: FloatArray = clean + np.float32(settings.ct_noise_hu) * rng.standard_normal(
        clean.shape, dtype=np.float32
    )
    return np.clip(noisy, -1024, 3071)


def measure_pet(uptake: FloatArray, patient: PhantomPatient, settings: PhantomSettings) -> FloatArray:
    """PET with the scanner's blur and correlated noise, SUVbw in g/mL (z, y, x; float32; ≥ 0).

    Noise of an iterative reconstruction grows with the uptake around it and is correlated
    over the resolution; its SD is `noise` times the blurred uptake.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([settings.seed, patient.number, 3])
    voxel = np.asarray(settings.pet_spacing_mm)
    blurred = gaussian_filter(uptake, PSF_FWHM_MM[patient.centre] * SIGMA_PER_FWHM / voxel)
    noise = gaussian_filter(
        rng.standard_normal(uptake.shape, dtype=np.float32), NOISE_FWHM_MM * SIGMA_PER_FWHM / voxel
    )
    noise /= noise.std()
    measured: FloatArray = np.maximum(blurred * (1 + np.float32(settings.noise) * noise), 0)
    return measured.astype(np.float32)
