"""Harmonisation of PET scanners: each one's PET smoothed to a common recovery.

EARL's accreditation sets what share of a phantom sphere's uptake a scanner recovers; a scanner that
recovers more is brought to it by a Gaussian filter whose width is found on the phantom (Boellaard
et al., EANM guideline 2.0, Eur J Nucl Med Mol Imaging 2015;42:328-354; Lasnon et al., Eur J Nucl
Med Mol Imaging 2013;40:985-996; Kaalep et al., Eur J Nucl Med Mol Imaging 2018;45:1344-1361).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.errors import RadiomicsError
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.sources import PatientImages
from pipeline.volumes.resample import FWHM_PER_SD

OTHER_SCANNERS = "*"


def harmonised(patient: PatientImages, suv: Path, fwhm_mm: Mapping[str, float]) -> PatientImages:
    """A patient's images, the PET of features and of PET metrics smoothed as its scanner asks.

    Args:
        patient: The images.
        suv: Folder of `suv`, whose `suv.json` names the scanner.
        fwhm_mm: Full width at half maximum by scanner, `*` for any other; empty: nothing is smoothed.

    Raises:
        RadiomicsError: No width is given for the patient's scanner.
    """
    if not fwhm_mm or patient.pet is None:
        return patient
    width = _width(suv, fwhm_mm)
    if width == 0:
        return patient
    native = smoothed(patient.pet.image, width)
    images = {
        name: image if name != "pet" else native if image is patient.pet.image else smoothed(image, width)
        for name, image in patient.images.items()
    }
    return replace(patient, images=images, pet=replace(patient.pet, image=native))


def _width(suv: Path, fwhm_mm: Mapping[str, float]) -> float:
    scanner = str(json.loads((suv / "suv.json").read_text(encoding="utf-8")).get("scanner", ""))
    width = fwhm_mm.get(scanner, fwhm_mm.get(OTHER_SCANNERS))
    if width is None:
        raise RadiomicsError(
            "no smoothing is given for the patient's PET scanner",
            where="radiomics.pet_fwhm_mm",
            expected=", ".join(fwhm_mm),
            got=scanner or "no scanner in the header",
            action="add the scanner with its width (0: not smoothed), or `*` for any other",
        )
    return width


def smoothed(image: FeatureImage, fwhm_mm: float) -> FeatureImage:
    """An image convolved with a Gaussian; voxels that were not imaged do not weigh in.

    Args:
        image: The image.
        fwhm_mm: Full width at half maximum.
    """
    from scipy import ndimage

    sigma = [fwhm_mm / FWHM_PER_SD / spacing for spacing in image.spacing_mm]
    weight = image.inside.astype(np.float64)
    total = ndimage.gaussian_filter(image.values * weight, sigma, mode="nearest")
    share = ndimage.gaussian_filter(weight, sigma, mode="nearest")
    values = np.divide(total, share, out=image.values.astype(np.float64), where=image.inside)
    return replace(image, values=values.astype(image.values.dtype))
