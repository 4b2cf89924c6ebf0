"""Which function fits which kind of model."""

from __future__ import annotations

from pipeline.survival.cox_models import fit_clinical_cox, fit_column, fit_feature
from pipeline.survival.deepsurv import fit_deepsurv
from pipeline.survival.estimator import Fitter
from pipeline.survival.penalised import fit_lasso
from pipeline.survival.signatures import fit_hecktor, fit_signed_bagging, fit_univariate
from pipeline.survival.sksurv_models import fit_boosting, fit_forest, fit_svm

FITTERS: dict[str, Fitter] = {
    "column": fit_column,
    "feature": fit_feature,
    "clinical_cox": fit_clinical_cox,
    "lasso_cox": fit_lasso,
    "univariate": fit_univariate,
    "hecktor_cox": fit_hecktor,
    "rsf": fit_forest,
    "gradient_boosting": fit_boosting,
    "survival_svm": fit_svm,
    "signed_bagging": fit_signed_bagging,
    "deepsurv": fit_deepsurv,
}
"""Kind → fitter; kinds are those of `pipeline/settings/classical.py`."""
