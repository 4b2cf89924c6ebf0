"""Morphology by the standard: surface mesh, axes, densities, spatial autocorrelation.

Zwanenburg et al., reference manual (arXiv 1612.07003), section 3.1. The mesh is PyRadiomics'
(marching cubes through the middle of voxel edges), the covariance of the axes is over N - 1
voxels as in the reference values. Densities of the minimum bounding box and ellipsoid have no
reference values and are left out.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import BoolArray, Spacing, lesion_box
from pipeline.radiomics.shape import mesh_coefficients, mesh_vertices
from pipeline.radiomics.standard_processing import StandardImage

Vector = npt.NDArray[np.float64]
ELLIPSOID_TERMS = 20
MORPHOLOGY = (
    "volume", "vol_approx", "area_mesh", "av", "comp_1", "comp_2", "sph_dispr", "sphericity",
    "asphericity", "com", "diam", "pca_maj_axis", "pca_min_axis", "pca_least_axis",
    "pca_elongation", "pca_flatness", "vol_dens_aabb", "area_dens_aabb", "vol_dens_aee",
    "area_dens_aee", "vol_dens_conv_hull", "area_dens_conv_hull", "integ_int", "moran_i", "geary_c",
)  # fmt: skip


def morphology(image: StandardImage) -> dict[str, float]:
    """The features of :data:`MORPHOLOGY` (mm, mm², mm³, mm⁻¹ or none).

    Shape is that of the morphological mask, intensities those of the intensity mask. NaN where a
    formula has no value, e.g. the flatness of one voxel.
    """
    box = lesion_box(image.shape)
    mask = image.shape[box]
    mesh = mesh_coefficients(np.pad(mask, 1), image.spacing_mm)
    volume, area = mesh.volume_mm3, mesh.surface_mm2
    with np.errstate(divide="ignore", invalid="ignore"):
        axes = principal_axes(mask, image.spacing_mm)
        features = {
            "volume": volume,
            "vol_approx": float(mask.sum() * np.prod(image.spacing_mm)),
            "area_mesh": area,
            "av": area / volume,
            **_roundness(volume, area),
            "com": _centre_shift(image),
            "diam": mesh.diameters_mm[3],
            "pca_maj_axis": axes[0],
            "pca_min_axis": axes[1],
            "pca_least_axis": axes[2],
            "pca_elongation": float(np.divide(axes[1], axes[0])),
            "pca_flatness": float(np.divide(axes[2], axes[0])),
            **_densities(volume, area, mesh_vertices(np.pad(mask, 1)) * np.asarray(image.spacing_mm) / 2),
            **_ellipsoid_densities(volume, area, axes / 2),
            "integ_int": float(image.values[image.intensity].mean()) * volume,
            **autocorrelation(image.values[box], image.intensity[box], image.spacing_mm),
        }
    return {name: float(features[name]) for name in MORPHOLOGY}


def _roundness(volume: float, area: float) -> dict[str, float]:
    ball = 36 * np.pi * volume**2
    return {
        "comp_1": volume / (np.sqrt(np.pi) * area**1.5),
        "comp_2": ball / area**3,
        "sph_dispr": area / ball ** (1 / 3),
        "sphericity": ball ** (1 / 3) / area,
        "asphericity": area / ball ** (1 / 3) - 1,
    }


def _centre_shift(image: StandardImage) -> float:
    """Distance (mm) of the lesion's centre from its centre of intensity."""
    spacing = np.asarray(image.spacing_mm)
    centre = np.argwhere(image.shape).mean(axis=0)
    values = image.values[image.intensity]
    weighted = (np.argwhere(image.intensity) * values[:, None]).sum(axis=0) / values.sum()
    return float(np.linalg.norm((centre - weighted) * spacing))


def principal_axes(mask: BoolArray, spacing_mm: Spacing) -> Vector:
    """Lengths (mm) of the major, minor and least axis: four standard deviations along each."""
    points = np.argwhere(mask) * np.asarray(spacing_mm)
    if len(points) < 2:
        return np.full(3, np.nan)
    variances = np.linalg.eigvalsh(np.cov(points, rowvar=False))[::-1]
    axes: Vector = 4 * np.sqrt(np.clip(variances, 0, None))
    return axes


def _densities(volume: float, area: float, vertices: Vector) -> dict[str, float]:
    """Densities in the box along the axes and in the convex hull of the mesh's vertices (n, 3; mm)."""
    from scipy.spatial import ConvexHull

    a, b, c = np.ptp(vertices, axis=0)
    hull = ConvexHull(vertices)
    return {
        "vol_dens_aabb": volume / (a * b * c),
        "area_dens_aabb": area / (2 * (a * b + b * c + a * c)),
        "vol_dens_conv_hull": volume / hull.volume,
        "area_dens_conv_hull": area / hull.area,
    }


def _ellipsoid_densities(volume: float, area: float, half: Vector) -> dict[str, float]:
    """Densities in the ellipsoid of the principal axes; its area is a series in Legendre polynomials.

    Args:
        volume: mm³.
        area: mm².
        half: Semi-axes, descending (mm).
    """
    a, b, c = half
    whole = 4 * np.pi * a * b * c / 3
    alpha, beta = np.sqrt(1 - b**2 / a**2), np.sqrt(1 - c**2 / a**2)
    # For a ball both are 0, and P(0) terms vanish against the limit of the argument.
    product = alpha * beta
    if not np.isfinite(product) or not whole > 0:
        return {"vol_dens_aee": float("nan"), "area_dens_aee": float("nan")}
    argument = (alpha**2 + beta**2) / (2 * product) if product > 0 else 1.0
    series = 0.0
    for order in range(ELLIPSOID_TERMS + 1):
        polynomial = np.polynomial.legendre.legval(argument, [0] * order + [1])
        series += product**order / (1 - 4 * order**2) * polynomial
    return {"vol_dens_aee": volume / whole, "area_dens_aee": area / (4 * np.pi * a * b * series)}


def autocorrelation(
    values: npt.NDArray[np.float64], mask: BoolArray, spacing_mm: Spacing
) -> dict[str, float]:
    """Moran's I and Geary's C of the intensities, all pairs of voxels weighted by 1 / distance.

    The sums over pairs are convolutions, computed by Fourier transforms.

    Args:
        values: Image (z, y, x).
        mask: Intensity mask (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
    """
    number = int(mask.sum())
    inside = values[mask]
    residual = np.where(mask, values - inside.mean(), 0.0)
    scatter = float((residual**2).sum())
    if number < 2 or scatter == 0:
        return {"moran_i": float("nan"), "geary_c": float("nan")}
    offsets = [np.arange(-(n - 1), n) * s for n, s in zip(mask.shape, spacing_mm, strict=True)]
    distance = np.sqrt(sum(o**2 for o in np.meshgrid(*offsets, indexing="ij", sparse=True)))
    weights = np.divide(1.0, distance, out=np.zeros_like(distance), where=distance > 0)
    around = _same(residual, weights)
    count = _same(mask.astype(np.float64), weights)
    total = float(count[mask].sum())
    products = float((residual * around).sum())
    squares = float((residual**2 * count).sum())
    return {
        "moran_i": number / total * products / scatter,
        # (xi - xj)² summed over pairs is twice the squares less twice the products.
        "geary_c": (number - 1) / (2 * total) * (2 * squares - 2 * products) / scatter,
    }


def _same(array: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Weighted sums around each voxel of an array (z, y, x); weights (2z-1, 2y-1, 2x-1)."""
    from scipy.signal import fftconvolve

    part = tuple(slice(n - 1, 2 * n - 1) for n in array.shape)
    sums: npt.NDArray[np.float64] = fftconvolve(array, weights, mode="full")[part]
    return sums
