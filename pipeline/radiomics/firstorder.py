"""First-order features, with each intermediate result computed once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt


class UnknownFeature(LookupError):
    """PyRadiomics has no feature of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Feature not found: {name}")


class FirstOrder:
    """PyRadiomics' 19 first-order features of one lesion (`radiomics.firstorder`, 3.0.1).

    The formulas are those of PyRadiomics, which recomputes mean, percentiles and moments for every
    feature; here they are shared. Tests compare the values with PyRadiomics' to 1e-9.

    Args:
        values: Intensities of the lesion's voxels (n,), n ≥ 1, finite.
        counts: Voxels per grey level that occurs, for entropy and uniformity.
        voxel_mm3: Volume of a voxel, for the total energy.
    """

    def __init__(
        self, values: npt.NDArray[np.float64], counts: npt.NDArray[np.int64], voxel_mm3: float
    ) -> None:
        self.values = values
        self.share = counts / counts.sum()
        self.voxel_mm3 = voxel_mm3

    def features(self, names: tuple[str, ...]) -> dict[str, float]:
        """Features by PyRadiomics' names."""
        return {name: self.feature(name) for name in names}

    def feature(self, name: str) -> float:
        """A feature by PyRadiomics' name; UnknownFeature where there is none."""
        method = getattr(self, f"_{name.lower()}", None)
        if method is None:
            raise UnknownFeature(name)
        return float(method())

    @cached_property
    def _average(self) -> float:
        return float(self.values.mean())

    @cached_property
    def _residual(self) -> npt.NDArray[np.float64]:
        residual: npt.NDArray[np.float64] = self.values - self._average
        return residual

    @cached_property
    def _squared(self) -> npt.NDArray[np.float64]:
        squared: npt.NDArray[np.float64] = self._residual * self._residual
        return squared

    @cached_property
    def _second_moment(self) -> float:
        return float(self._squared.mean())

    @cached_property
    def _percentiles(self) -> npt.NDArray[np.float64]:
        return np.asarray(np.percentile(self.values, (10, 25, 50, 75, 90)), dtype=np.float64)

    @cached_property
    def _sum_of_squares(self) -> float:
        return float(np.sum(self.values**2))

    def _energy(self) -> float:
        return self._sum_of_squares

    def _totalenergy(self) -> float:
        return self._sum_of_squares * self.voxel_mm3

    def _entropy(self) -> float:
        return float(-1.0 * np.sum(self.share * np.log2(self.share + np.spacing(1))))

    def _uniformity(self) -> float:
        return float(np.sum(self.share**2))

    def _minimum(self) -> float:
        return float(self.values.min())

    def _maximum(self) -> float:
        return float(self.values.max())

    def _range(self) -> float:
        return self._maximum() - self._minimum()

    def _10percentile(self) -> float:
        return float(self._percentiles[0])

    def _90percentile(self) -> float:
        return float(self._percentiles[4])

    def _interquartilerange(self) -> float:
        return float(self._percentiles[3] - self._percentiles[1])

    def _median(self) -> float:
        return float(self._percentiles[2])

    def _mean(self) -> float:
        return self._average

    def _meanabsolutedeviation(self) -> float:
        return float(np.abs(self._residual).mean())

    def _robustmeanabsolutedeviation(self) -> float:
        low, high = self._10percentile(), self._90percentile()
        # Differences, not comparisons: PyRadiomics' own test of what lies between.
        middle = self.values[~((self.values - low < 0) | (self.values - high > 0))]
        return float(np.abs(middle - middle.mean()).mean()) if middle.size else float("nan")

    def _rootmeansquared(self) -> float:
        return float(np.sqrt(self._sum_of_squares / self.values.size))

    def _standarddeviation(self) -> float:
        return float(np.sqrt(self._second_moment))

    def _variance(self) -> float:
        return self._second_moment

    def _skewness(self) -> float:
        if self._second_moment == 0:
            return 0.0
        third = float((self._squared * self._residual).mean())
        return third / float(self._second_moment**1.5)

    def _kurtosis(self) -> float:
        if self._second_moment == 0:
            return 0.0
        fourth = float((self._squared * self._squared).mean())
        return fourth / self._second_moment**2
