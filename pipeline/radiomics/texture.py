"""Texture features: PyRadiomics' classes on grey levels computed once."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from pipeline.radiomics.firstorder import UnknownFeature
from pipeline.radiomics.images import Levels
from pipeline.radiomics.matrices import glcm, glrlm, ngtdm
from pipeline.radiomics.neighbourhood import Neighbourhood

log = logging.getLogger(__name__)


def quiet_pyradiomics() -> None:
    """Take PyRadiomics' own logging out of ours: what fails is told by this package."""
    import radiomics  # noqa: F401  (it adds its handler when it is imported)

    logger = logging.getLogger("radiomics")
    logger.handlers.clear()
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)


def texture_features(
    kind: str, names: tuple[str, ...], levels: Levels, region: Neighbourhood
) -> dict[str, float]:
    """Features of one texture class.

    Args:
        kind: `glcm`, `glrlm`, `glszm`, `gldm` or `ngtdm`.
        names: Features by PyRadiomics' names.
        levels: Grey levels within the lesion.
        region: The lesion, its mask of the levels' shape.

    Returns:
        Values by name; NaN where PyRadiomics' formula has none.

    Raises:
        UnknownFeature: PyRadiomics has no such feature.
    """
    calculator = _calculator(kind, levels, region)
    with np.errstate(all="ignore"):
        _fill(calculator, kind, levels, region)
        return {name: _value(calculator, name) for name in names}


def _fill(calculator: Any, kind: str, levels: Levels, region: Neighbourhood) -> None:
    """Give a calculator its matrix: ours where it is the faster one, else PyRadiomics' own."""
    if kind == "glcm":
        calculator.P_glcm = glcm(levels, region)
    elif kind == "glrlm":
        calculator.P_glrlm = glrlm(levels, region)
        runs = calculator.P_glrlm.sum(axis=(1, 2))
        calculator.coefficients["Nr"] = np.where(runs == 0, np.nan, runs)
    elif kind == "ngtdm":
        calculator.P_ngtdm = ngtdm(levels, region)
    else:
        calculator._initCalculation()
        return
    calculator._calculateCoefficients()


def _value(calculator: Any, name: str) -> float:
    method = getattr(calculator, f"get{name}FeatureValue", None)
    if method is None:
        raise UnknownFeature(name)
    # Values come as arrays of one element, of one axis or none.
    return float(np.real(np.squeeze(method())))


def _calculator(kind: str, levels: Levels, region: Neighbourhood) -> Any:
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
    calculator.maskArray = region.mask
    calculator.symmetricalGLCM = True
    calculator.weightingNorm = None
    calculator.gldm_a = 0
    return calculator
