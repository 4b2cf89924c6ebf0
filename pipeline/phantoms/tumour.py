"""The tumour: an analytic star-shaped solid with uneven uptake and a rim around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.floating]
RIM_MM = 10.0
"""Thickness of the peritumoral shell."""
RIPPLES = 3
"""Plane waves that make up the uneven uptake."""


@dataclass(frozen=True)
class Tumour:
    """Shape and uptake of one tumour, in template space (LPS mm).

    The surface lies at the radius
    `r(u) = scale * ellipsoid(u) * (1 + a2 P2(u·v2) + a3 P3(u·v3))` from the centre in the
    direction u (unit vector), P2 and P3 Legendre polynomials; `scale` makes the volume exact.

    Attributes:
        centre_mm: Centre (x, y, z).
        volume_ml: Volume of the solid.
        semi_axes: Relative semi-axes of the ellipsoid (x, y, z).
        lobes: Amplitudes (a2, a3).
        lobe_axes: Unit vectors (v2, v3).
        mean_suv: Mean uptake inside, before blurring (g/mL).
        heterogeneity: SD of the uptake inside as a share of its mean.
        waves: Unit vectors of the waves of the uneven uptake.
        phases: Their phases (radian).
        rim_suv: Uptake of the shell of :data:`RIM_MM` around the solid (g/mL).
    """

    centre_mm: tuple[float, float, float]
    volume_ml: float
    semi_axes: tuple[float, float, float]
    lobes: tuple[float, float]
    lobe_axes: tuple[tuple[float, float, float], ...]
    mean_suv: float
    heterogeneity: float
    waves: tuple[tuple[float, float, float], ...]
    phases: tuple[float, ...]
    rim_suv: float


def relative_radius(tumour: Tumour, units: FloatArray) -> FloatArray:
    """Radius in the directions `units` (3, …) before scaling."""
    axes = np.asarray(tumour.semi_axes, dtype=units.dtype)
    inverse = sum((units[i] / axes[i]) ** 2 for i in range(3))
    (a2, a3), (v2, v3) = tumour.lobes, tumour.lobe_axes
    t2 = sum(units[i] * units.dtype.type(v2[i]) for i in range(3))
    t3 = sum(units[i] * units.dtype.type(v3[i]) for i in range(3))
    lobes = 1 + a2 * (1.5 * t2 * t2 - 0.5) + a3 * (2.5 * t3 * t3 - 1.5) * t3
    radius: FloatArray = lobes / np.sqrt(inverse)
    return radius


def sphere_rule(order: int = 24) -> tuple[FloatArray, FloatArray]:
    """Directions (3, n) and weights (n, sum 4π) of a product rule on the unit sphere."""
    cosines, weights = np.polynomial.legendre.leggauss(order)
    turns = np.arange(2 * order) * np.pi / order
    sines = np.sqrt(1 - cosines**2)
    units = np.stack(
        [
            np.outer(sines, np.cos(turns)),
            np.outer(sines, np.sin(turns)),
            np.outer(cosines, np.ones(2 * order)),
        ]
    )
    return units.reshape(3, -1), np.repeat(weights * np.pi / order, 2 * order)


class TumourField:
    """A tumour made ready for evaluation at many points."""

    def __init__(self, tumour: Tumour) -> None:
        self.tumour = tumour
        units, weights = sphere_rule()
        raw = relative_radius(tumour, units)
        # V = ∫ r³/3 dΩ of a star-shaped solid.
        self.scale = float((1000.0 * tumour.volume_ml / (weights @ raw**3 / 3.0)) ** (1 / 3))
        self.reach_mm = float(raw.max() * self.scale) * 1.01
        # Waves about as long as the tumour is wide, and never finer than a scanner resolves.
        self.wavelength_mm = max(14.0, 1.3 * (750.0 * tumour.volume_ml / np.pi) ** (1 / 3))
        self.pattern_mean, self.pattern_sd = 0.0, 1.0
        self._standardise(units, weights, raw * self.scale)

    def _standardise(self, units: FloatArray, weights: FloatArray, radius: FloatArray) -> None:
        """Mean and SD of the raw pattern over the solid, by quadrature."""
        nodes, rule = np.polynomial.legendre.leggauss(12)
        share, rule = (nodes + 1) / 2, rule / 2
        points = units[:, :, None] * radius[:, None] * share
        mass = weights[:, None] * radius[:, None] ** 3 * share**2 * rule
        values = self._waves(points)
        self.pattern_mean = float((mass * values).sum() / mass.sum())
        self.pattern_sd = float(np.sqrt((mass * (values - self.pattern_mean) ** 2).sum() / mass.sum()))

    def _waves(self, offsets: FloatArray) -> FloatArray:
        total: FloatArray = np.zeros(offsets.shape[1:], dtype=offsets.dtype)
        number = 2 * np.pi / self.wavelength_mm
        for axis, phase in zip(self.tumour.waves, self.tumour.phases, strict=True):
            along = sum(offsets[i] * offsets.dtype.type(axis[i] * number) for i in range(3))
            total += np.cos(along + offsets.dtype.type(phase))
        return total

    def offsets(self, points: FloatArray) -> FloatArray:
        """Points (3, …; template x, y, z) relative to the centre."""
        centre = np.asarray(self.tumour.centre_mm, dtype=points.dtype)
        relative: FloatArray = points - centre.reshape(3, *[1] * (points.ndim - 1))
        return relative

    def distance(self, points: FloatArray) -> FloatArray:
        """Radial distance (mm) of points (3, …) from the surface; negative inside."""
        relative = self.offsets(points)
        length = np.sqrt((relative**2).sum(axis=0))
        units = relative / np.maximum(length, points.dtype.type(1e-6))
        distance: FloatArray = length - points.dtype.type(self.scale) * relative_radius(self.tumour, units)
        return distance

    def uptake(self, points: FloatArray) -> FloatArray:
        """SUV (g/mL) inside, at points (3, …), before blurring; never below a tenth of the mean."""
        pattern = (self._waves(self.offsets(points)) - self.pattern_mean) / self.pattern_sd
        suv: FloatArray = self.tumour.mean_suv * np.maximum(1 + self.tumour.heterogeneity * pattern, 0.1)
        return suv
