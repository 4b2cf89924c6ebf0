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
# Values that were cut pile up at the end of their range: within air to compact bone no scanner ends so. The end's
# share of voxels, how much more often its value occurs than those beside it, and on how many voxels this is seen.
_LEAST_CUT_BELOW, _LEAST_CUT_ABOVE = 0.02, 0.001
_TIMES_BESIDE, _BESIDE_HU, _LEAST_VOXELS = 10.0, 20.0, 20
_GREY_LEVELS = (0.0, 255.0)


def require_hounsfield(ct: Volume, imaged: Volume | None = None, unspecified: bool = False) -> None:
    """Refuse a CT whose values no patient has in Hounsfield units.

    Wrong intercepts (0 or -2048 for -1024) put air near 0 and tissue where bone is, or tissue near -1000; wrong
    slopes (0.1, 10) leave nothing where soft tissue is; grey levels of a display fill 0 to 255. An image cut to the
    inside of a body has no air, and one of a few voxels shows nothing.

    Args:
        ct: The CT in HU.
        imaged: Voxels that are image; None: all. The least value, if it is padding, counts for nothing either.
        unspecified: (0028,1054) Rescale Type is US: the values alone say that they are HU, by air and by tissue.

    Raises:
        DicomError: With the shares of voxels by which it is seen.
    """
    values = _some(ct, imaged)
    image = values[values > ct.array.min()]
    if not image.size:
        return
    least, most = (float(value) for value in np.percentile(image, (0.1, 99.9)))
    shares = (
        f"{100 * _share(image, *_SOFT_HU):.1f} % of voxels from -200 to 200, "
        f"{100 * _share(image, _DENSE_HU, np.inf):.0f} % above 700, "
        f"{100 * _share(image, -np.inf, _AIR_HU):.0f} % below -200, values {least:.4g} to {most:.4g}"
    )
    problem = _grey_levels(values, _ends(ct, imaged)) or _problem(image, least, most)
    problem = problem or (_doubt(image) if unspecified else "")
    if problem:
        raise DicomError(
            "the CT is not in Hounsfield units",
            where="CT, values after the rescale",
            expected=problem,
            got=shares,
            action="give the CT as the scanner rescaled it",
        )


def hounsfield_warnings(ct: Volume, imaged: Volume | None = None) -> list[str]:
    """What to tell of a CT that may be in Hounsfield units: that it shows no air, and that its values were cut.

    A display window that was burnt in, or an unsigned export that turned what is below 0 into 0, leaves many voxels
    of exactly the least or the greatest value, and no tissue beyond: fat of 0 HU, or bone of 240.

    Args:
        ct: The CT in HU.
        imaged: Voxels that are image; None: all. Of values near or below air, the least one may be padding.
    """
    low, high = _ends(ct, imaged)
    warnings = []
    if low > _AIR_HU:
        warnings.append(f"the CT holds no air (lowest value {low:g}): make sure that it is in HU")
    cut = _cut(_some(ct, imaged), high)
    if cut:
        warnings.append(
            f"the CT's values seem to be cut, by a display window or an unsigned export: {' and '.join(cut)}; "
            "give the CT as the scanner rescaled it"
        )
    return warnings


def _cut(values: FloatArray, high: float) -> list[str]:
    """The ends of the range, between air and compact bone, at which values pile up, in words."""
    low = float(values.min(initial=np.inf))
    if low < _ROUND_AIR_HU[1]:  # padding, or the air of an image without noise
        values = values[values > low]
    if not values.size:
        return []
    low = float(values.min())
    below = _piled(values, low, 1) if low > _ROUND_AIR_HU[1] else 0.0
    above = _piled(values, high, -1) if high < _DENSE_HU else 0.0
    return [
        f"{100 * share:.2g} % of voxels have exactly the {name} value, {end:g}"
        for share, least, name, end in (
            (below, _LEAST_CUT_BELOW, "lowest", low),
            (above, _LEAST_CUT_ABOVE, "highest", high),
        )
        if share >= least
    ]


def _piled(values: FloatArray, end: float, inward: int) -> float:
    """Share (0 to 1) of values at the end of a range; 0 where they are hardly more than those beside them.

    Where nothing lies beside them, the values are those of a phantom of few materials.
    """
    inside = inward * (values - end)
    at, beside = int((inside == 0).sum()), int(((inside > 0) & (inside <= _BESIDE_HU)).sum())
    if at < _LEAST_VOXELS or not beside or at < _TIMES_BESIDE * beside / _BESIDE_HU:
        return 0.0
    return at / values.size


def _grey_levels(values: FloatArray, ends: tuple[float, float]) -> str:
    """What a CT lacks that fills just the range of 8 bits, with many voxels at either end."""
    black, white = _GREY_LEVELS
    if ends != _GREY_LEVELS:
        return ""
    if (values == black).mean() < _LEAST_CUT_BELOW and (values == white).mean() < _LEAST_CUT_ABOVE:
        return ""
    return "other values than the grey levels of a display, 0 to 255"


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
    """Up to a million voxels over the whole image, without what is not imaged."""
    step = max(1, ct.array.size // _LOOKED_AT)
    some = ct.array.ravel()[::step]
    if imaged is not None:
        some = some[imaged.array.ravel()[::step] > 0]
    return np.asarray(some, dtype=np.float64)


def _ends(ct: Volume, imaged: Volume | None) -> tuple[float, float]:
    """Least and greatest value of what is imaged; of everything where nothing is."""
    array = ct.array
    if imaged is not None and imaged.array.any():
        array = array[imaged.array > 0]
    return float(array.min()), float(array.max())


def _share(image: FloatArray, low: float, high: float) -> float:
    """Share (0 to 1) of values from low to high."""
    return float(((image >= low) & (image <= high)).mean())
