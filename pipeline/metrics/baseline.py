"""From log-hazards to survival probabilities: Breslow's baseline hazard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Baseline:
    """Cumulative baseline hazard as a step function.

    Attributes:
        times: (k,) distinct event times, ascending.
        hazard: (k,) cumulative hazard from each time on of a patient with log-hazard `centre`.
        centre: Reference log-hazard; keeps exponentials in range.
        last: Last time of follow-up; nothing is known later.
    """

    times: Array
    hazard: Array
    centre: float
    last: float

    def survival(self, risk: Array, times: Array) -> Array:
        """Survival probabilities (n, m) of n log-hazards at m times; NaN after `last`."""
        steps = np.concatenate([[0.0], self.hazard])
        wanted = np.asarray(times, dtype=float)
        cumulative = steps[np.searchsorted(self.times, wanted, side="right")]
        # Cut at ±500: a factor of 1e217 is as good as infinite, and does not overflow.
        relative = np.exp(np.clip(np.asarray(risk, dtype=float) - self.centre, -500.0, 500.0))
        curve = np.exp(-relative[:, None] * cumulative[None, :])
        return np.where(wanted[None, :] > self.last, np.nan, curve)


def breslow(time: Array, event: Array, risk: Array) -> Baseline:
    """Breslow's estimate, H0(t) = Σ_{tᵢ ≤ t} dᵢ / Σ_{j at risk at tᵢ} exp(rⱼ − centre).

    Source: Breslow's discussion of Cox, J R Stat Soc B 1972; 34: 216.

    Args:
        time: (n,) time to event or censoring.
        event: (n,) 1 = the event occurred.
        risk: (n,) log-hazard, higher = worse. From patients the model was not fitted on;
            in-sample log-hazards are spread too wide.

    Raises:
        ValueError: No patient, or a log-hazard that is not finite.
    """
    time, event = np.asarray(time, dtype=float), np.asarray(event) == 1
    risk = np.asarray(risk, dtype=float)
    if not len(time) or not np.isfinite(risk).all():
        raise ValueError("breslow needs at least one patient and finite log-hazards")
    centre = float(risk.mean())
    shifted = risk - centre
    times, deaths = np.unique(time[event], return_counts=True)
    order = np.argsort(time, kind="stable")
    # log Σ exp over all patients still at risk, accumulated from the last patient backwards.
    log_risk_set_sums = np.logaddexp.accumulate(shifted[order][::-1])[::-1]
    log_sum = log_risk_set_sums[np.searchsorted(time[order], times, side="left")]
    hazard = np.cumsum(deaths * np.exp(-log_sum))
    return Baseline(times, hazard, centre, float(time.max()))
