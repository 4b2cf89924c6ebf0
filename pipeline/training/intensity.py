"""Intensities from HU and SUVbw to what networks are given, patient by patient, when crops are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import TrainingError

if TYPE_CHECKING:
    from pipeline.store.crops import Crop

Standardisation = Literal["zscore", "hecktor", "none"]
AIR = {"ct": -1024.0, "pet": 0.0}
"""Air in the crop store's units: HU and g/mL."""
HECKTOR_CLIP_HU = 1024.0
SMALLEST_SD = 1e-6
"""Standard deviation below which a channel has no contrast."""


@dataclass(frozen=True)
class Standardised:
    """A patient's image as networks are given it.

    Attributes:
        image: (C, Z, Y, X) float32, with standardised air where nothing was imaged.
        air: (C,) float32, the value of air in each channel after standardisation.
    """

    image: NDArray[np.float32]
    air: NDArray[np.float32]


def standardise(crop: Crop, method: Standardisation) -> Standardised:
    """Standardise a patient's crop channel by channel.

    `zscore`: x → (x − mean) / SD with mean and SD (ddof 0, float64) of the patient's own
    imaged voxels (DeepMTS). `hecktor`: PET so; CT clipped to ±1024 HU and divided by 1024
    (HECKTOR multi-task paper: mapped to [−1, 1]). `none`: as stored. Voxels that were not
    imaged are left out of the statistics and become standardised air (CT −1024 HU, PET 0):
    a 0 there would be soft tissue.

    Args:
        crop: The patient's crop.
        method: How its channels are standardised.

    Raises:
        TrainingError: The crop has no imaged voxel, a channel without contrast, a value that is
            not finite, or a channel whose value of air is unknown.
    """
    where = f"patient {crop.attributes.patient_id}"
    inside = np.asarray(crop.inside, dtype=bool)
    if not inside.any():
        raise TrainingError(
            "a crop has no imaged voxel", where=where, action="check the position of the crop"
        )
    image = np.empty(crop.image.shape, dtype=np.float32)
    air = np.empty(len(image), dtype=np.float32)
    for channel, name in enumerate(crop.attributes.channels):
        values = np.asarray(crop.image[channel], dtype=np.float64)
        if not np.isfinite(values[inside]).all():
            raise TrainingError(f"channel {name!r} has values that are not finite", where=where)
        if name not in AIR and not inside.all():
            raise TrainingError(
                f"channel {name!r} has voxels outside the image, and its value of air is unknown",
                where=where,
                expected=", ".join(AIR),
            )
        # A channel of unknown kind (e.g. a simulated image) is padded with its darkest value.
        air_value = AIR.get(name, float(values[inside].min()))
        scale, shift = _scale_and_shift(values[inside], name, method, where)
        values = np.where(inside, values, air_value)
        if method == "hecktor" and name == "ct":
            values = np.clip(values, -HECKTOR_CLIP_HU, HECKTOR_CLIP_HU)
            air_value = max(air_value, -HECKTOR_CLIP_HU)
        image[channel] = (values - shift) / scale
        air[channel] = (air_value - shift) / scale
    return Standardised(image, air)


def _scale_and_shift(
    imaged: NDArray[np.float64], name: str, method: Standardisation, where: str
) -> tuple[float, float]:
    """Scale and shift of a channel: x → (x − shift) / scale."""
    if method == "none":
        return 1.0, 0.0
    if method == "hecktor" and name == "ct":
        return HECKTOR_CLIP_HU, 0.0
    mean, deviation = float(imaged.mean()), float(imaged.std())
    if deviation < SMALLEST_SD:
        raise TrainingError(
            f"channel {name!r} has no contrast and cannot be standardised",
            where=where,
            expected=f"a standard deviation above {SMALLEST_SD:g}",
            got=f"{deviation:.3g}",
            action="check this patient's crop",
        )
    return deviation, mean
