"""What is learned of features before a model is fitted, each step from training patients alone."""

from __future__ import annotations

from dataclasses import replace

from pipeline.settings.classical import ClassicalModel, FeatureSelecting
from pipeline.survival.estimator import Context, FittedModel
from pipeline.survival.harmonise import Harmoniser
from pipeline.survival.patients import Patients
from pipeline.survival.registry import FITTERS
from pipeline.survival.stability_filter import StableFeatures


def fit_prepared(model: ClassicalModel, train: Patients, context: Context) -> FittedModel:
    """Fit a model after what is learned of features: which are stable, how centres differ.

    Args:
        model: The model's settings.
        train: The only patients anything is learned from.
        context: Seed and threads.
    """
    steps: list[tuple[str, StableFeatures | Harmoniser]] = []
    told: tuple[str, ...] = ()
    if model.needs.min_icc > 0:
        steps.append(("stability", StableFeatures.fit(train, context.perturbed, model.needs.min_icc)))
        train = steps[-1][1].transform(train)
    if isinstance(model, FeatureSelecting) and model.harmonise != "none":
        harmoniser = Harmoniser.fit(train)
        steps.append(("harmonisation", harmoniser))
        train = harmoniser.transform(train)
        if not harmoniser.centres:
            told = ("fewer than two centres of three patients; nothing is harmonised",)
    fitter = FITTERS[model.kind]
    if not steps:
        return fitter(model, train, context)

    def prepared(patients: Patients) -> Patients:
        for _, step in steps:
            patients = step.transform(patients)
        return patients

    if context.validation is not None:
        context = replace(context, validation=prepared(context.validation))
    fitted = fitter(model, train, context)
    return FittedModel(
        lambda patients: fitted.score(prepared(patients)),
        {**{name: step.report() for name, step in steps}, **fitted.report},
        (*fitted.warnings, *told),
        fitted.log_hazard,
        fitted.caveats,
    )
