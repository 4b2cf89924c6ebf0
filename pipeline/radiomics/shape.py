"""Shape features of a mask."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from pipeline.radiomics.firstorder import UnknownFeature
from pipeline.radiomics.images import BoolArray, Spacing
from pipeline.radiomics.mesh import mesh_coefficients


def shape_features(names: tuple[str, ...], mask: BoolArray, spacing_mm: Spacing) -> dict[str, float]:
    """PyRadiomics' shape features (`radiomics.shape`, 3.0.1) of a lesion's mask.

    Args:
        names: Features by PyRadiomics' names, the deprecated ones included.
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).

    Returns:
        Values by name (mm, mm², mm³ or none); NaN where the formula has none, e.g. the
        elongation of one voxel.

    Raises:
        UnknownFeature: PyRadiomics has no such feature.
    """
    calculator = _calculator(mask, spacing_mm)
    with np.errstate(all="ignore"):
        return {name: _value(calculator, name) for name in names}


def _value(calculator: Any, name: str) -> float:
    method = getattr(calculator, f"get{name}FeatureValue", None)
    if method is None:
        raise UnknownFeature(name)
    return float(np.squeeze(method()))


def _calculator(mask: BoolArray, spacing_mm: Spacing) -> Any:
    """A PyRadiomics shape object in the state its constructor would leave it in."""
    from radiomics.shape import RadiomicsShape

    padded = np.pad(mask, 1)
    spacing = np.array(spacing_mm)
    shape = RadiomicsShape.__new__(RadiomicsShape)
    shape.logger = logging.getLogger("radiomics")
    shape.pixelSpacing = spacing
    shape.labelledVoxelCoordinates = np.nonzero(padded)
    shape.SurfaceArea, shape.Volume, shape.diameters = mesh_coefficients(padded, spacing_mm)
    shape.eigenValues = _eigenvalues(np.stack(shape.labelledVoxelCoordinates, axis=1), spacing)
    return shape


def _eigenvalues(index: Any, spacing: Any) -> Any:
    """Eigenvalues (mm²), ascending, of the covariance of voxel centres."""
    places = index * spacing[None, :]
    places -= places.mean(axis=0)
    places /= np.sqrt(len(places))
    # PyRadiomics' general solver: on equal axes rounding gives it tiny imaginary parts.
    values = np.real(np.linalg.eigvals(places.T.copy() @ places)).copy()
    # Rounding leaves tiny negative eigenvalues of flat lesions.
    values[(values < 0) & (values > -1e-10)] = 0
    values.sort()
    return values
