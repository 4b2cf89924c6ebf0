"""Which function fits which kind of model."""

from __future__ import annotations

from pipeline.survival.fitted import Fitter
from pipeline.survival.penalised import fit_lasso
from pipeline.survival.simple import fit_clinical_cox, fit_column, fit_feature

FITTERS: dict[str, Fitter] = {
    "column": fit_column,
    "feature": fit_feature,
    "clinical_cox": fit_clinical_cox,
    "lasso_cox": fit_lasso,
}
"""Kind → fitter; kinds are those of `pipeline/settings/classical.py`."""
WITHOUT_FEATURES = frozenset({"column", "clinical_cox"})
"""Kinds that need no feature table."""
