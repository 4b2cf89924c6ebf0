"""Whether the values of a CT can be Hounsfield units: air near -1000, soft tissue and water near 0."""

from __future__ import annotations

import numpy as np

from pipeline.errors import DicomError
from pipeline.volumes.volume import FloatArray, Volume

POSSIBLE_HU = (-3100.0, 5000.0)
"""All but a few voxels of a CT lie between: air of old scanners is -3024, metal above 3071 fills few voxels."""
_LOOKED_AT = 1_000_000
# Soft tissue, fat and water; a slope that is ten times too small or too large leaves nothing there.
_SOFT_HU = (-200.0, 200.0)
_LEAST_SOFT = 0.005
# As dense as compact bone, which fills 0 to 2 % of an image, and has more of spongy bone around it; air: nothing of a
# body but lung and bowel is below.
_SPONGY_HU, _DENSE_HU, _MOST_DENSE = 300.0, 700.0, 0.1
_AIR_HU, _LEAST_AIR = -200.0, 0.001
# Below air there is only padding, whose one value is set aside, and some noise.
_BELOW_AIR_HU, _MOST_BELOW_AIR = -1150.0, 0.25
# What a CT must show whose unit is unspecified: air around the patient, and tissue in it.
_ROUND_AIR_HU, _LEAST_OF_EITHER = (-1050.0, -900.0), 0.02


def require_hounsfield(ct: Volume, imaged: Volume | None = None, unspecified: bool = False) -> None:
    """Refuse a CT whose values no patient has in Hounsfield units.

    Wrong intercepts (0 or -2048 for -1024) put air near 0 and tissue where bone is, or tissue near -1000; wrong
    slopes (0.1, 10) leave nothing where soft tissue is. An image cut to the inside of a body has no air, and
    one of a few voxels shows nothing.

    Args:
        ct: The CT in HU.
        imaged: Voxels that are image; None: all. The least value, if it is padding, counts for nothing either.
        unspecified: (0028,1054) Rescale Type is US: the values alone say that they are HU, by air and by tissue.

    Raises:
        DicomError: With the shares of voxels by which it is seen.
    """
    image = _some(ct, imaged)
    if not image.size:
        return
    least, most = (float(value) for value in np.percentile(image, (0.1, 99.9)))
    shares = (
        f"{100 * _share(image, *_SOFT_HU):.1f} % of voxels from -200 to 200, "
        f"{100 * _share(image, _DENSE_HU, np.inf):.0f} % above 700, "
        f"{100 * _share(image, -np.inf, _AIR_HU):.0f} % below -200, values {least:.4g} to {most:.4g}"
    )
    problem = _problem(image, least, most) or (_doubt(image) if unspecified else "")
    if problem:
        raise DicomError(
            "the CT is not in Hounsfield units",
            where="CT, values after the rescale",
            expected=problem,
            got=shares,
            action="give the CT as the scanner rescaled it",
        )


def _problem(image: FloatArray, least: float, most: float) -> str:
    if least < POSSIBLE_HU[0] or most > POSSIBLE_HU[1]:
        return f"99.8 % of values from {POSSIBLE_HU[0]:g} to {POSSIBLE_HU[1]:g}, padding left aside"
    if _share(image, *_SOFT_HU) < _LEAST_SOFT:
        return "soft tissue or water, from -200 to 200"
    dense, spongy = _share(image, _DENSE_HU, np.inf), _share(image, _SPONGY_HU, _DENSE_HU)
    if _share(image, -np.inf, _AIR_HU) < _LEAST_AIR and dense > max(_MOST_DENSE, spongy):
        return "air near -1000 where much is as dense as bone"
    if _share(image, -np.inf, _BELOW_AIR_HU) > _MOST_BELOW_AIR:
        return "no values below air, -1000, but padding and noise"
    return ""


def _doubt(image: FloatArray) -> str:
    """What a CT of unspecified unit lacks of air and tissue; a crop without air could be of any unit."""
    if min(_share(image, *_ROUND_AIR_HU), _share(image, *_SOFT_HU)) >= _LEAST_OF_EITHER:
        return ""
    return (
        "of a CT whose (0028,1054) Rescale Type is US (unspecified) both air, from -1050 to -900, and soft "
        f"tissue, from -200 to 200, in {100 * _LEAST_OF_EITHER:g} % of voxels or more"
    )


def _some(ct: Volume, imaged: Volume | None) -> FloatArray:
    """Up to a million voxels over the whole image, without the least value and what is not imaged."""
    step = max(1, ct.array.size // _LOOKED_AT)
    some = ct.array.ravel()[::step]
    inside = some > ct.array.min()
    if imaged is not None:
        inside &= imaged.array.ravel()[::step] > 0
    return np.asarray(some[inside], dtype=np.float64)


def _share(image: FloatArray, low: float, high: float) -> float:
    """Share (0 to 1) of values from low to high."""
    return float(((image >= low) & (image <= high)).mean())
