"""Texture features: PyRadiomics' classes on grey levels that are computed once.

The matrices of co-occurrence, run lengths and grey tone differences are those of PyRadiomics
3.0.1 after it has removed empty levels and directions.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.firstorder import UnknownFeature
from pipeline.radiomics.images import Levels
from pipeline.radiomics.neighbourhood import Line, Neighbourhood, box_sums

Matrix = npt.NDArray[np.float64]


def quiet_pyradiomics() -> None:
    """Silence PyRadiomics' logging; this package reports failures itself."""
    import radiomics  # noqa: F401  (it adds its handler when it is imported)

    logger = logging.getLogger("radiomics")
    logger.handlers.clear()
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)


def texture_features(
    kind: str, names: tuple[str, ...], levels: Levels, lesion: Neighbourhood
) -> dict[str, float]:
    """Features of one texture class.

    Args:
        kind: `glcm`, `glrlm`, `glszm`, `gldm` or `ngtdm`.
        names: Features by PyRadiomics' names.
        levels: Grey levels within the lesion.
        lesion: The lesion, its mask of the shape of the levels.

    Returns:
        Values by name; NaN where PyRadiomics' formula has none.

    Raises:
        UnknownFeature: PyRadiomics has no such feature.
    """
    calculator = _calculator(kind, levels, lesion)
    with np.errstate(all="ignore"):
        _fill(calculator, kind, levels, lesion)
        return {name: _value(calculator, name) for name in names}


def _fill(calculator: Any, kind: str, levels: Levels, lesion: Neighbourhood) -> None:
    """Set the matrix of a calculator: ours where it is faster, else PyRadiomics' own."""
    if kind == "glcm":
        calculator.P_glcm = glcm_matrix(levels, lesion)
    elif kind == "glrlm":
        calculator.P_glrlm = glrlm_matrix(levels, lesion)
        runs = calculator.P_glrlm.sum(axis=(1, 2))
        calculator.coefficients["Nr"] = np.where(runs == 0, np.nan, runs)
    elif kind == "ngtdm":
        calculator.P_ngtdm = ngtdm_matrix(levels, lesion)
    else:
        calculator._initCalculation()
        return
    calculator._calculateCoefficients()


def _value(calculator: Any, name: str) -> float:
    method = getattr(calculator, f"get{name}FeatureValue", None)
    if method is None:
        raise UnknownFeature(name)
    # Values are arrays of one element, with one axis or none.
    return float(np.real(np.squeeze(method())))


def _calculator(kind: str, levels: Levels, lesion: Neighbourhood) -> Any:
    """A PyRadiomics feature object in the state its constructor would leave it in.

    The constructor would copy the image out of SimpleITK and discretise it again for each
    class; here all classes share one array. `RadiomicsFeaturesBase.__init__` and the
    constructors of the five classes (3.0.1) set these attributes and no others that their
    calculations read with the default settings.
    """
    from radiomics import getFeatureClasses

    cls = getFeatureClasses()[kind]
    calculator = cls.__new__(cls)
    calculator.logger = logging.getLogger("radiomics")
    calculator.settings = {}
    calculator.voxelBased = False
    calculator.coefficients = {"grayLevels": levels.present, "Ng": int(levels.present[-1])}
    calculator.imageArray = levels.array
    calculator.maskArray = lesion.mask
    calculator.symmetricalGLCM = True
    calculator.weightingNorm = None
    calculator.gldm_a = 0
    return calculator


def glcm_matrix(levels: Levels, lesion: Neighbourhood) -> Matrix:
    """Grey level co-occurrence: shares of neighbouring pairs of levels.

    Returns:
        (1, levels present, levels present, directions with pairs), symmetrical, each
        direction's sum 1; NaN where the only direction has no pair.
    """
    size = len(levels.present)
    counts = [_pairs(levels.ranks, line, size) for line in lesion.lines]
    matrix = np.stack(counts, axis=-1)[None] if counts else np.zeros((1, size, size, 0))
    matrix += matrix.transpose(0, 2, 1, 3)
    sums = matrix.sum(axis=(1, 2))
    if matrix.shape[3] > 1:
        with_pairs = sums[0] > 0
        matrix, sums = matrix[..., with_pairs], sums[:, with_pairs]
    sums[sums == 0] = np.nan
    matrix /= sums[:, None, None, :]
    return matrix


def _pairs(ranks: npt.NDArray[np.int32], line: Line, size: int) -> Matrix:
    along = ranks[line.order]
    keys = (along[:-1] * size + along[1:])[~line.breaks[1:-1]]
    return np.bincount(keys, minlength=size * size).reshape(size, size).astype(np.float64)


def glrlm_matrix(levels: Levels, lesion: Neighbourhood) -> Matrix:
    """Grey level run lengths: runs by level and length.

    Directions in which no two voxels lie on one line are left out. If there is only one
    direction at all, it stays and holds no runs.

    Returns:
        (1, levels present, longest side of the box, directions).
    """
    size, longest = len(levels.present), max(lesion.mask.shape)
    directions = []
    for line in lesion.lines:
        if line.several:
            directions.append(_runs(levels.ranks, line, (size, longest)))
        elif len(lesion.lines) == 1:
            directions.append(np.zeros((size, longest)))
    return np.stack(directions, axis=-1)[None] if directions else np.zeros((1, size, longest, 0))


def _runs(ranks: npt.NDArray[np.int32], line: Line, shape: tuple[int, int]) -> Matrix:
    along = ranks[line.order]
    ends = line.breaks.copy()
    ends[1:-1] |= along[1:] != along[:-1]
    starts = np.flatnonzero(ends)
    keys = along[starts[:-1]] * shape[1] + (np.diff(starts) - 1)
    return np.bincount(keys, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float64)


def ngtdm_matrix(levels: Levels, lesion: Neighbourhood) -> Matrix:
    """Neighbouring grey tone differences.

    For each level: the number of voxels; the sum of their distances from the mean level of
    those of their 26 neighbours that belong to the lesion (0 for a voxel without any); the
    level itself. Sums over neighbours are sums over boxes, computed axis by axis.

    Returns:
        (1, levels present, 3).
    """
    centre = levels.present[levels.ranks]
    total = box_sums(levels.array)[lesion.mask] - centre
    count = lesion.neighbours
    gap = np.where(count > 0, np.abs(centre - total / np.maximum(count, 1)), 0.0)
    sums = np.bincount(levels.ranks, weights=gap, minlength=len(levels.present))
    return np.stack([levels.counts, sums, levels.present], axis=1)[None].astype(np.float64)
