"""Models without selection of features: a column as it is, Cox on one feature, Cox on clinical columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.settings.classical import ClinicalCox, ColumnModel, FeatureModel
from pipeline.survival.cox import CoxFit, events_warning, fit_cox, likelihood_ratio_p
from pipeline.survival.design import Design, Scaler, matching
from pipeline.survival.estimator import Context, FittedModel, constant_model, linear_model
from pipeline.survival.patients import Patients
from pipeline.survival.selection import clinical_encoder

Array = NDArray[np.float64]
LARGE = 5.0
"""A coefficient beyond this (hazard ratio 148 per SD) is a sign of separation."""


def fit_column(settings: ColumnModel, train: Patients, context: Context) -> FittedModel:
    """A column of the cohort table as the risk; nothing is fitted.

    Raises:
        ModelError: The column is absent, not numeric, or has a missing or infinite value.
    """
    name = settings.column
    _read_column(train, name)
    return FittedModel(lambda patients: _read_column(patients, name), {"column": name})


def _read_column(patients: Patients, name: str) -> Array:
    if name not in patients.table.columns:
        numeric = [str(c) for c in patients.table.columns if patients.table[c].dtype.kind in "fiub"]
        raise ModelError(f"the cohort table has no column {name!r}", expected=", ".join(numeric))
    column = patients.table[name]
    is_number = column.dtype.kind in "fiub"
    unusable = ~np.isfinite(column.astype(float)) if is_number else column.isna()
    if not is_number or unusable.any():
        empty = ", ".join(str(p) for p in column.index[unusable][:5])
        raise ModelError(
            f"column {name!r} cannot be a risk",
            expected="a finite number for every patient",
            got=f"missing or infinite for {empty}" if empty else f"values of type {column.dtype}",
        )
    return np.asarray(column, dtype=float)


def fit_feature(settings: FeatureModel, train: Patients, context: Context) -> FittedModel:
    """Cox on one feature, or its logarithm, and the clinical columns if any.

    Raises:
        ModelError: No feature or several have this name, it does not vary, or a value has no logarithm.
    """
    positions = matching(train.names, [settings.feature])
    if len(positions) > 1:
        raise ModelError(
            f"{settings.feature!r} names several features",
            expected="one column of the feature table",
            got=", ".join(train.names[i] for i in positions[:5]),
            action="name one of them in the model's `feature`",
        )
    position = int(positions[0])

    def select_column(patients: Patients) -> Patients:
        values = patients.features[:, [position]]
        if settings.log:
            if (values <= 0).any():
                without_logarithm = [str(p) for p in patients.table.index[(values <= 0).ravel()]]
                raise ModelError(
                    f"feature {settings.feature!r} has no logarithm",
                    expected="values above 0",
                    got=f"0 or less for {', '.join(without_logarithm[:5])}",
                    action="set log: false for this model",
                )
            values = np.log(values)
        return Patients(patients.table, values, (settings.feature,))

    selected = select_column(train)
    design = Design(clinical_encoder(settings, train), Scaler.fit(selected, np.array([0])))
    if not design.scaler.names:
        raise ModelError(f"feature {settings.feature!r} is the same, or missing, for all training patients")
    model = fit_cox_model(design, selected, ridge=0.01)
    return FittedModel(lambda patients: model.score(select_column(patients)), model.report, model.warnings)


def fit_clinical_cox(settings: ClinicalCox, train: Patients, context: Context) -> FittedModel:
    """Cox on the clinical columns.

    Where no column is left (`clinical_p`) the risk is 0 for all patients, with a warning.

    Raises:
        ModelError: The model is offered no column.
    """
    if not settings.clinical:
        raise ModelError(
            "a clinical_cox model has no columns", action="name clinical_* columns in its `clinical`"
        )
    encoder = clinical_encoder(settings, train)
    design = Design(encoder, Scaler.fit(train, np.array([], dtype=np.int64)))
    if not design.names:
        return constant_model(design, "no clinical column is informative; the risk is 0")
    return fit_cox_model(design, train, settings.ridge)


def fit_cox_model(
    design: Design, train: Patients, ridge: float, candidates: int | None = None
) -> FittedModel:
    """Cox on a design, with the likelihood-ratio test and warnings in its report.

    Args:
        design: Design matrix, learned from the training patients; at least one column.
        train: Training patients.
        ridge: Penalty ridge/2·Σβ²; where the fit does not converge with it, 0.1, 1, then 10 are
            tried, with a warning. Without a penalty (0) the model is refused instead.
        candidates: Number of variables that were considered; None: those of the design.

    Raises:
        ModelError: The maximisation does not converge.
    """
    fit = _fit_with_ridge(design.transform(train), train, ridge)
    warnings = events_warning(int(train.event.sum()), candidates or len(design.names))
    extreme = [name for name, b in zip(design.names, fit.coefficients, strict=True) if abs(b) > LARGE]
    if extreme:
        warnings.append(f"columns that nearly separate patients by event: {', '.join(extreme)}")
    if fit.ridge != ridge:
        warnings.append(f"does not converge with ridge {ridge:g}; fitted with {fit.ridge:g}")
    report = {
        "ridge": fit.ridge,
        "log_likelihood": fit.log_likelihood,
        "log_likelihood_null": fit.null,
        "likelihood_ratio_p": likelihood_ratio_p(fit, len(design.names)),
    }
    return linear_model(design, fit.coefficients, report=report, warnings=tuple(warnings))


def _fit_with_ridge(matrix: Array, train: Patients, ridge: float) -> CoxFit:
    """The fit with the smallest penalty that converges."""
    stronger = [value for value in (0.1, 1.0, 10.0) if value > ridge > 0]
    for value in (ridge, *stronger):
        try:
            return fit_cox(matrix, train.time, train.event, value)
        except ModelError:
            if value == (ridge, *stronger)[-1]:
                raise
    raise AssertionError("the loop returns or raises")
