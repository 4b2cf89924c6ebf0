"""Cox proportional hazards on a small design matrix (scikit-survival, Efron's ties)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ModelError
from pipeline.survival.patients import Patients

Array = NDArray[np.float64]
EVENTS_PER_VARIABLE = 10.0
"""With fewer events per variable unpenalised Cox coefficients are unreliable (Peduzzi et al.,
J Clin Epidemiol 1995; 48: 1503)."""


@dataclass(frozen=True)
class CoxFit:
    """Coefficients of a Cox model.

    Attributes:
        coefficients: (p,) log hazard ratios per unit of a column.
        log_likelihood: Log partial likelihood at them (Efron's ties, without the ridge).
        null: Log partial likelihood at coefficients of zero.
        ridge: Penalty that it was fitted with.
    """

    coefficients: Array
    log_likelihood: float
    null: float
    ridge: float


def to_surv(time: Array, event: NDArray[np.bool_]) -> NDArray[np.void]:
    """Outcomes as scikit-survival's structured array."""
    from sksurv.util import Surv

    outcome: NDArray[np.void] = Surv.from_arrays(event, time)
    return outcome


def fit_cox(matrix: Array, time: Array, event: NDArray[np.bool_], ridge: float = 0.0) -> CoxFit:
    """Maximise the (ridge-penalised) log partial likelihood.

    Args:
        matrix: (n, p) design matrix, p ≥ 1.
        time: (n,) time to event or censoring.
        event: (n,) whether the event occurred.
        ridge: Penalty ridge/2·Σβ².

    Raises:
        ModelError: No event, or the maximisation does not converge (columns that repeat
            one another, or one that separates patients with and without event).
    """
    from numpy.linalg import LinAlgError
    from scipy.linalg import LinAlgWarning
    from sklearn.exceptions import ConvergenceWarning
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    if not event.any():
        raise ModelError(
            "a Cox model needs an event among its training patients", got=f"{len(time)} patients"
        )
    model = CoxPHSurvivalAnalysis(alpha=ridge, ties="efron", n_iter=200)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ConvergenceWarning)
            warnings.simplefilter("error", LinAlgWarning)
            # Too large a step overflows, and the optimiser halves it.
            warnings.simplefilter("ignore", RuntimeWarning)
            model.fit(matrix, to_surv(time, event))
        if not np.isfinite(model.coef_).all():
            raise ArithmeticError("coefficients are not finite")
    except (ConvergenceWarning, LinAlgWarning, ValueError, ArithmeticError, LinAlgError) as error:
        raise ModelError(
            "a Cox model does not converge",
            expected="columns that neither repeat one another nor separate patients by event",
            got=f"{matrix.shape[1]} columns, {int(event.sum())} events of {len(time)} patients ({error})",
            action="offer fewer columns, or give the model a ridge penalty",
        ) from None
    coefficients = np.asarray(model.coef_, dtype=float)
    zero = np.zeros(matrix.shape[1])
    return CoxFit(
        coefficients,
        efron_log_likelihood(matrix @ coefficients, time, event),
        efron_log_likelihood(matrix @ zero, time, event),
        ridge,
    )


def efron_log_likelihood(log_hazard: Array, time: Array, event: NDArray[np.bool_]) -> float:
    """Log partial likelihood with Efron's treatment of ties (JASA 1977; 72: 557)."""
    total = 0.0
    for event_time in np.unique(time[event]):
        tied = event & (time == event_time)
        log_risk_set_sum = np.logaddexp.reduce(log_hazard[time >= event_time])
        log_tied_sum = np.logaddexp.reduce(log_hazard[tied])
        share = np.arange(int(tied.sum())) / tied.sum()
        total += log_hazard[tied].sum() - float(
            np.sum(log_risk_set_sum + np.log1p(-share * np.exp(min(log_tied_sum - log_risk_set_sum, 0.0))))
        )
    return float(total)


def breslow_log_likelihood(log_hazard: Array, time: Array, event: NDArray[np.bool_]) -> Array:
    """(A,) log partial likelihoods of (n, A) log-hazards, Breslow's ties, without overflow."""
    order = np.argsort(-time, kind="stable")
    descending, ordered = -time[order], log_hazard[order]
    log_risk_set_sums = np.logaddexp.accumulate(ordered, axis=0)
    last = np.searchsorted(descending, descending, side="right") - 1
    terms = ordered - log_risk_set_sums[last]
    total: Array = terms[event[order]].sum(axis=0)
    return total


def likelihood_ratio_p(fit: CoxFit, columns: int) -> float:
    """P-value of the hypothesis that all coefficients are zero (χ², a degree of freedom per column)."""
    from scipy.special import chdtrc

    return float(chdtrc(columns, max(0.0, 2.0 * (fit.log_likelihood - fit.null))))


def events_warning(events: int, candidates: int) -> list[str]:
    """A warning where there are fewer than ten events per candidate variable."""
    if candidates == 0 or events / candidates >= EVENTS_PER_VARIABLE:
        return []
    return [
        f"{events} events for {candidates} candidate variables ({events / candidates:.2g} per variable; "
        f"at least {EVENTS_PER_VARIABLE:g} are advised)"
    ]


def informative_clinical(train: Patients, columns: tuple[str, ...], limit: float) -> tuple[str, ...]:
    """Clinical columns with a univariate likelihood-ratio P below a limit on training patients.

    A column that is the same for all training patients is left out. With a limit of 1 all columns pass.
    """
    from pipeline.tables.clinical import ClinicalEncoder

    if limit >= 1:
        return columns
    informative = []
    for column in columns:
        encoder = ClinicalEncoder.fit(train.table, [column])
        matrix = encoder.transform(train.table).to_numpy(dtype=float)
        if matrix.shape[1] == 0 or not (matrix.std(axis=0) > 0).any():
            continue
        fit = fit_cox(matrix, train.time, train.event, ridge=0.01)
        if likelihood_ratio_p(fit, matrix.shape[1]) < limit:
            informative.append(column)
    return tuple(informative)
