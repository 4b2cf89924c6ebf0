"""Crops as training takes them: read one patient at a time, standardised, and alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.training.intensity import Standardisation, standardise

if TYPE_CHECKING:
    from pipeline.store.attributes import CropAttributes
    from pipeline.store.crops import Crop


@dataclass(frozen=True)
class StandardisedCrop:
    """The crop of one patient, standardised.

    Attributes:
        image: (C, Z, Y, X) float32.
        mask: (Z, Y, X) uint8, 1 = tumour, or the labels of classes; 0 where the patient has none.
        has_mask: Whether the patient has a mask.
        air: (C) float32, the value of air in each channel.
        attributes: Attributes of the crop as it is stored.
    """

    image: NDArray[np.float32]
    mask: NDArray[np.uint8]
    has_mask: bool
    air: NDArray[np.float32]
    attributes: CropAttributes


def standardised_crops(
    folder: Path, ids: Sequence[str], standardisation: Standardisation
) -> Iterator[StandardisedCrop]:
    """Read the patients' crops in their order; one is in memory at a time.

    Each patient is standardised by his own voxels, so that the result is the same in every fold.

    Args:
        folder: Folder of the crop stores, `{patient_id}.zarr`.
        ids: The patients.
        standardisation: How images are standardised.

    Raises:
        TrainingError: There is no patient; crops differ in shape, channels or spacing; or cannot be
            standardised.
        CropError: A crop store cannot be trusted.
    """
    from pipeline.store.crops import read_crop

    if not ids:
        raise TrainingError("there is no patient to load", where=str(folder))
    shape, first = None, None
    for patient_id in ids:
        crop = read_crop(folder / f"{patient_id}.zarr")
        shape, first = shape or crop.image.shape, first or crop.attributes
        _check_alike(crop, shape, first)
        standardised = standardise(crop, standardisation)
        mask = np.zeros(shape[1:], dtype=np.uint8) if crop.mask is None else crop.mask
        yield StandardisedCrop(
            standardised.image, mask, crop.mask is not None, standardised.air, crop.attributes
        )


def _check_alike(crop: Crop, shape: tuple[int, ...], reference: CropAttributes) -> None:
    attributes = crop.attributes
    for name, got, expected in (
        ("shape", crop.image.shape, shape),
        ("channels", tuple(attributes.channels), tuple(reference.channels)),
        ("spacing", tuple(attributes.spacing_mm), tuple(reference.spacing_mm)),
        ("margin", attributes.margin, reference.margin),
    ):
        if got != expected:
            raise TrainingError(
                f"crops differ in {name}",
                where=f"patient {attributes.patient_id}",
                expected=f"{expected}, as patient {reference.patient_id}",
                got=str(got),
                action="remake the crops with one setting",
            )
