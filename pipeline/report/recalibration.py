"""What would bring predicted probabilities into agreement with external patients: offered, never applied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.report.forests import Estimate
from pipeline.report.formatting import display_name, format_interval, is_known
from pipeline.report.job import ReportJob
from pipeline.report.survival_figures import estimate_of
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

SET = "external"


def recalibration(job: ReportJob, metrics: pd.DataFrame) -> tuple[str, ...]:
    """A sentence per horizon: the factor on the headline model's cumulative hazard that external patients ask for.

    It is exp(intercept) of the calibration in the large (Crowson et al., Stat Methods Med Res 2016; 25: 1692), as
    `evaluate` estimated it: S becomes S to the power of the factor. Nothing is fitted here and nothing is changed.

    Args:
        job: The study.
        metrics: `metrics.csv`.

    Returns:
        Nothing where no external patients were judged.
    """
    sentences = []
    for days in sorted(job.settings.evaluation.horizons_days):
        intercept = estimate_of(metrics, job.headline, SET, f"calibration_intercept_{days:g}d")
        if not (is_known(intercept.value) and is_known(intercept.low) and is_known(intercept.high)):
            continue
        factor = Estimate(*(math.exp(v) for v in (intercept.value, intercept.low, intercept.high)))
        said = format_interval(factor.value, factor.low, factor.high, 2)
        asked = (
            "which holds 1: none is asked for" if factor.low <= 1 <= factor.high else "which does not hold 1"
        )
        when = horizon_name(days, job.settings.cohort.time_unit)
        sentences.append(
            f"{when}: external patients agree on average where the cumulative hazard of {display_name(job.headline)} "
            f"is multiplied by {said}, {asked}"
        )
    return tuple(sentences)
