"""Intensities by the standard: statistics, histogram, intensity-volume histogram, local peaks.

Zwanenburg et al., reference manual (arXiv 1612.07003), sections 3.2 to 3.5. Columns are named by
the tags of the standard's reference tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import Levels
from pipeline.radiomics.pet_metrics import sphere_means
from pipeline.radiomics.standard_processing import StandardImage

Vector = npt.NDArray[np.float64]
COMMON = ("mean", "var", "skew", "kurt", "median", "min", "p10", "p90", "max")
SPREAD = ("iqr", "range", "mad", "rmad", "medad", "cov", "qcod")
STATISTICS = (*COMMON, *SPREAD, "energy", "rms")
HISTOGRAM = (
    *COMMON, "mode", *SPREAD, "entropy", "uniformity",
    "max_grad", "max_grad_g", "min_grad", "min_grad_g",
)  # fmt: skip
VOLUME_HISTOGRAM = ("v10", "v90", "i10", "i90", "diff_v10_v90", "diff_i10_i90")
LOCAL = ("peak_loc", "peak_glob")


def statistics(values: Vector) -> dict[str, float]:
    """Statistics of intensities (section 3.3): those of :data:`STATISTICS`.

    The kurtosis is the excess over a normal distribution's. NaN where a formula has no value, e.g.
    the coefficient of variation of a mean of 0.

    Args:
        values: Intensities (n,), n ≥ 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return {**_distribution(values), "energy": float((values**2).sum()), "rms": _rms(values)}


def _rms(values: Vector) -> float:
    return float(np.sqrt((values**2).mean()))


def _distribution(values: Vector) -> dict[str, float]:
    p10, p25, median, p75, p90 = np.percentile(values, (10, 25, 50, 75, 90))
    mean = values.mean()
    residual = values - mean
    variance = (residual**2).mean()
    middle = values[(values >= p10) & (values <= p90)]
    robust = np.abs(middle - middle.mean()).mean() if middle.size else np.nan
    constant = variance == 0
    result = {
        "mean": mean,
        "var": variance,
        "skew": 0.0 if constant else (residual**3).mean() / variance**1.5,
        "kurt": 0.0 if constant else (residual**4).mean() / variance**2 - 3.0,
        "median": median,
        "min": values.min(),
        "p10": p10,
        "p90": p90,
        "max": values.max(),
        "iqr": p75 - p25,
        "range": np.ptp(values),
        "mad": np.abs(residual).mean(),
        "rmad": robust,
        "medad": np.abs(values - median).mean(),
        "cov": np.sqrt(variance) / mean,
        "qcod": (p75 - p25) / (p75 + p25),
    }
    return {name: float(value) for name, value in result.items()}


def histogram(levels: Levels) -> dict[str, float]:
    """Features of the histogram of grey levels (section 3.4): those of :data:`HISTOGRAM`.

    The gradient is a central difference over neighbouring levels, empty ones between the lowest and
    the highest level of the lesion included.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        result = _distribution(levels.present[levels.ranks].astype(np.float64))
    share = levels.counts / levels.counts.sum()
    most = levels.present[levels.counts == levels.counts.max()]
    # Of several modes the one nearest to the mean.
    result["mode"] = float(most[np.argmin(np.abs(most - result["mean"]))])
    result["entropy"] = float(-(share * np.log2(share)).sum())
    result["uniformity"] = float((share**2).sum())
    low = int(levels.present[0])
    counts = np.bincount(levels.present - low, weights=levels.counts)
    gradient = np.gradient(counts) if len(counts) > 1 else np.zeros(1)
    for name, index in (("max", int(np.argmax(gradient))), ("min", int(np.argmin(gradient)))):
        result[f"{name}_grad"] = float(gradient[index])
        result[f"{name}_grad_g"] = float(index + low)
    return result


@dataclass(frozen=True)
class HistogramAxis:
    """The intensities that an intensity-volume histogram runs over.

    Attributes:
        lowest: Intensity with fraction 0: the range's lower end, or the lowest one.
        highest: Intensity with fraction 1.
        step: Distance of neighbouring intensities; None: those that occur.
    """

    lowest: float
    highest: float
    step: float | None = None


def volume_histogram(values: Vector, axis: HistogramAxis) -> dict[str, float]:
    """Features of the intensity-volume histogram (section 3.5): those of :data:`VOLUME_HISTOGRAM`.

    Args:
        values: Intensities of the voxels (n,), or the centres of their bins.
        axis: The intensities that it runs over.

    Returns:
        `v10`: share of the volume whose intensity fraction is at least 10 %; `i10`: the lowest
        intensity that at most 10 % of the volume reach; differences.
    """
    ordered = np.sort(values)
    volume = {}
    for percent in (10, 90):
        threshold = axis.lowest + (axis.highest - axis.lowest) * percent / 100
        # A threshold that rounding puts above an intensity that equals it would lose its voxels.
        threshold -= 1e-9 * max(abs(threshold), 1.0)
        volume[percent] = float((ordered >= threshold).mean())
    steps = np.unique(ordered)
    if axis.step is not None:
        steps = np.arange(ordered[0], ordered[-1] + axis.step / 2, axis.step)
    reach = 1 - np.searchsorted(ordered, steps) / len(ordered)
    intensity = {}
    for percent in (10, 90):
        rare = steps[reach <= percent / 100 + 1e-12]
        intensity[percent] = float(rare[0]) if rare.size else axis.highest
    return {
        "v10": volume[10],
        "v90": volume[90],
        "i10": intensity[10],
        "i90": intensity[90],
        "diff_v10_v90": volume[10] - volume[90],
        "diff_i10_i90": intensity[10] - intensity[90],
    }


def local_peaks(image: StandardImage) -> dict[str, float]:
    """Local and global intensity peak (section 3.2): means of a 1 cm³ sphere of imaged voxels.

    The local peak is that around the voxel of highest intensity, of several the highest peak; the
    global peak is the highest around any voxel of the intensity mask. Spheres reach beyond the lesion.
    """
    means = sphere_means(image.values, image.inside, image.spacing_mm)
    of_voxels = means[image.intensity]
    values = image.values[image.intensity]
    known = np.isfinite(of_voxels)
    if not known.any():
        return dict.fromkeys(LOCAL, float("nan"))
    hottest = of_voxels[values == values.max()]
    return {"peak_loc": float(np.nanmax(hottest)), "peak_glob": float(np.nanmax(of_voxels))}
