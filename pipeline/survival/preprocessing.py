"""From training patients to a fitted model: stability filter, harmonisation, then the fitter of the model's kind."""

from __future__ import annotations

from dataclasses import replace

from pipeline.settings.classical import ClassicalModel, FeatureSelecting
from pipeline.survival.cox_models import fit_clinical_cox, fit_column, fit_feature
from pipeline.survival.deepsurv import fit_deepsurv
from pipeline.survival.estimator import Context, FittedModel, Fitter
from pipeline.survival.harmonise import Harmoniser
from pipeline.survival.label_models import fit_label_boosting, fit_label_forest, fit_logistic
from pipeline.survival.patients import Patients
from pipeline.survival.penalised import fit_lasso
from pipeline.survival.signatures import fit_hecktor, fit_signed_bagging, fit_univariate
from pipeline.survival.sksurv_models import fit_boosting, fit_forest, fit_svm
from pipeline.survival.stability_filter import StabilityFilter

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
    "logistic": fit_logistic,
    "label_forest": fit_label_forest,
    "label_boosting": fit_label_boosting,
}
"""Kind of a classical model → the function that fits it."""


def fit_preprocessed(model: ClassicalModel, train: Patients, context: Context) -> FittedModel:
    """Fit a model on features that are filtered and harmonised as its settings say.

    Args:
        model: The model's settings.
        train: The training patients; nothing is learned from others.
        context: Seed, threads and what some models need beside the patients.
    """
    steps: dict[str, StabilityFilter | Harmoniser] = {}
    warnings: tuple[str, ...] = ()
    if model.needs.min_icc > 0:
        steps["stability"] = StabilityFilter.fit(train, context.perturbed, model.needs.min_icc)
        train = steps["stability"].transform(train)
    if isinstance(model, FeatureSelecting) and model.harmonise != "none":
        harmoniser = Harmoniser.fit(train)
        steps["harmonisation"] = harmoniser
        train = harmoniser.transform(train)
        if not harmoniser.centres:
            warnings = ("fewer than two centres have three patients each, so no features are harmonised",)
    fit = FITTERS[model.kind]
    if not steps:
        return fit(model, train, context)

    def preprocess(patients: Patients) -> Patients:
        for step in steps.values():
            patients = step.transform(patients)
        return patients

    if context.validation is not None:
        context = replace(context, validation=preprocess(context.validation))
    fitted = fit(model, train, context)
    return FittedModel(
        lambda patients: fitted.score(preprocess(patients)),
        {**{name: step.report() for name, step in steps.items()}, **fitted.report},
        (*fitted.warnings, *warnings),
        fitted.caveats,
    )
