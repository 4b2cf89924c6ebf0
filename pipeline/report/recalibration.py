"""What would bring predicted probabilities into agreement with external patients: offered, never applied."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pipeline.report.forests import Estimate
from pipeline.report.formatting import display_name, format_interval, format_number, is_known
from pipeline.report.job import ReportJob
from pipeline.report.page_table import Table
from pipeline.report.survival_figures import estimate_of
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

SET = "external"
TITLE = "Recalibrated on these patients: not validation"
NOTE = (
    "Survival S becomes exp(−exp(a + b·log(−log S))). Observed/expected and ICI are of the very patients that a and b "
    "were estimated on, 1 and 0 being ideal: what they say of others is not known."
)


def recalibrated(job: ReportJob) -> Table:
    """The headline model's rows of `recalibrated.csv`; empty where nothing was estimated."""
    import pandas as pd

    table = pd.read_csv(job.results / "metrics" / "recalibrated.csv")
    table = table[table["model"] == job.headline]
    shown = [
        {
            "Time": horizon_name(row["horizon"], job.settings.cohort.time_unit),
            "Version": row["version"],
            "a": format_number(row["intercept"], 3),
            "b": format_number(row["slope"], 3),
            "Observed/expected": format_number(row["observed_expected"], 2),
            "ICI": format_number(row["ici"], 3),
        }
        for row in table.to_dict("records")
    ]
    return Table(TITLE, table, pd.DataFrame(shown), note=NOTE)


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
