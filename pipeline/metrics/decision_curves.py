"""Decision curves: net benefit of treating whoever's predicted event probability reaches a threshold."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.time_dependent import SurvivalOutcome, survival_at

Array = NDArray[np.float64]
THRESHOLDS = np.round(np.arange(0.02, 0.99, 0.02), 2)


def net_benefit(outcome: SurvivalOutcome, treated: NDArray[np.bool_], horizon: float, odds: float) -> float:
    """Net benefit per patient of treating some patients, at one threshold.

    True positives minus false positives weighted by the odds of the threshold; with censoring, both
    from the Kaplan–Meier estimate among the treated (Vickers and Elkin, Med Decis Making 2006; 26:
    565; Vickers et al., BMC Med Inform Decis Mak 2008; 8: 53). Treating nobody is 0; higher = better.

    Args:
        outcome: Outcomes of n patients.
        treated: (n,) whether a patient's predicted probability reaches the threshold.
        horizon: Time in the unit of the outcomes.
        odds: threshold / (1 − threshold).

    Returns:
        NaN where the follow-up of the treated ends before the horizon.
    """
    if not treated.any():
        return 0.0
    share = float(treated.mean())
    once = np.ones((1, int(treated.sum())))
    survival = float(survival_at(outcome.time[treated], outcome.event[treated], horizon, once)[0])
    return share * ((1 - survival) - survival * odds)


def decision_curve(outcome: SurvivalOutcome, survival: Array, horizon: float) -> list[dict[str, float]]:
    """Net benefit of a model and of treating everybody, at thresholds from 2 % to 98 %.

    Args:
        outcome: Outcomes of n patients.
        survival: (n,) predicted survival probabilities.
        horizon: Time in the unit of the outcomes.

    Returns:
        A row per threshold: threshold, net_benefit, treat_all.
    """
    everybody = np.ones(len(survival), dtype=bool)
    rows = []
    for threshold in THRESHOLDS:
        odds = float(threshold / (1 - threshold))
        rows.append(
            {
                "threshold": float(threshold),
                "net_benefit": net_benefit(outcome, 1 - survival >= threshold, horizon, odds),
                "treat_all": net_benefit(outcome, everybody, horizon, odds),
            }
        )
    return rows
