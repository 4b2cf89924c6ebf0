"""The verdict at the head of the report: what the numbers allow to say, and what they don't.

The primary comparison is the headline model against the simplest one; whatever else the report
compares is exploratory. Every sentence is read off the tables of `evaluate`, nothing is estimated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.metrics.time_dependent import LEAST_EVENTS
from pipeline.report.flow import SetSize
from pipeline.report.forests import Estimate, sets_in
from pipeline.report.formatting import display_name, format_interval, format_number, is_known, isolated
from pipeline.report.job import ReportJob
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

LEAST_DICE = 0.3
"""Mean Dice below which a network hardly finds the tumour, so that risks from its masks mean little."""


@dataclass(frozen=True)
class Verdict:
    """What stands at the head of the report.

    Attributes:
        question: The question that the primary comparison answers.
        basis: How many patients and events the models learned from and were judged on.
        answers: A sentence per set, external first: both C-indices, their difference, what follows.
        calibration: Whether predicted probabilities agree with what was observed; empty where there
            are none.
        doubts: What weakens the answers: excluded patients, few events, networks that hardly trained.
    """

    question: str
    basis: str
    answers: tuple[str, ...]
    calibration: str
    doubts: tuple[str, ...]


@dataclass(frozen=True)
class Evaluated:
    """The tables that the verdict reads.

    Attributes:
        metrics: `metrics.csv`.
        comparisons: `comparisons.csv`.
        sizes: Patients and events by set.
        learned: What the models learned from, the beginning of a sentence.
        excluded: Patients of the cohort table that were left out.
        listed: Patients of the cohort table.
        resampled: What the bootstrap draws: patients, or whole groups of rows.
    """

    metrics: pd.DataFrame
    comparisons: pd.DataFrame
    sizes: dict[str, SetSize]
    learned: str
    excluded: int
    listed: int
    resampled: str = "patients"


def verdict(job: ReportJob, evaluated: Evaluated) -> Verdict | None:
    """The verdict on the headline model; None where no model predicts survival.

    Args:
        job: The study, with its headline model and the simplest model.
        evaluated: What `evaluate` found.
    """
    model, against = job.headline, job.baseline
    sets = sets_in(evaluated.metrics[evaluated.metrics["metric"] == "c_index"])
    if not model or not sets:
        return None
    endpoint = isolated(job.settings.cohort.endpoint_name)
    name = display_name(model)
    question = f"Does {name} rank patients by {endpoint} better than chance?"
    if against:
        question = f"Does {name} rank patients by {endpoint} better than {display_name(against)} alone?"
    return Verdict(
        question=question,
        basis=_basis(evaluated, sets),
        answers=tuple(_answer(evaluated, name_of_set, model, against) for name_of_set in sets),
        calibration=_calibration(job, evaluated.metrics, sets[0]),
        doubts=tuple(_doubts(job, evaluated, sets)),
    )


def _basis(evaluated: Evaluated, sets: list[str]) -> str:
    judged = [_count(evaluated.sizes[name], name) for name in sets]
    return f"{evaluated.learned}; judged on {' and on '.join(judged)}."


def _count(size: SetSize, name: str) -> str:
    events = "" if size.events is None else f" ({size.events} event{'s' * (size.events != 1)})"
    return f"{size.patients} {name} patients{events}"


def _answer(evaluated: Evaluated, name: str, model: str, against: str) -> str:
    """The sentence of one set."""
    title = f"{name.capitalize()}: "
    size = evaluated.sizes[name]
    if size.events is not None and size.events < LEAST_EVENTS:
        return f"{title}{size.events} event{'s' * (size.events != 1)}, too few for an answer."
    ours = _estimate(evaluated.metrics, model, name, "c_index")
    if not is_known(ours.value):
        return f"{title}the C-index of {display_name(model)} cannot be computed."
    said = f"{title}C-index {format_interval(ours.value, ours.low, ours.high, 2)}"
    chance = "" if is_known(ours.low) and ours.low > 0.5 else " It is not shown to be better than chance."
    if not against:
        return f"{said}.{chance or ' It is better than chance.'}"
    theirs = _estimate(evaluated.metrics, against, name, "c_index")
    difference = _difference(evaluated.comparisons, name, model, against)
    other = format_interval(theirs.value, theirs.low, theirs.high, 2)
    gap = format_interval(difference.value, difference.low, difference.high, 2)
    return f"{said}, {display_name(against)} {other}; difference {gap}: {_conclusion(difference, model)}.{chance}"


def _conclusion(difference: Estimate, model: str) -> str:
    """What an interval of a difference allows to say."""
    name = display_name(model)
    if not (is_known(difference.low) and is_known(difference.high)):
        return f"whether {name} is better cannot be said"
    if difference.low > 0:
        return f"{name} is better"
    if difference.high < 0:
        return f"{name} is worse"
    return f"no evidence that {name} is better"


def _estimate(metrics: pd.DataFrame, model: str, which: str, metric: str) -> Estimate:
    rows = metrics[(metrics["model"] == model) & (metrics["set"] == which) & (metrics["metric"] == metric)]
    if rows.empty:
        return Estimate(float("nan"), float("nan"), float("nan"))
    row = rows.iloc[0]
    return Estimate(float(row["value"]), float(row["ci_low"]), float(row["ci_high"]))


def _difference(comparisons: pd.DataFrame, which: str, model: str, against: str) -> Estimate:
    """Difference in C-index, model − against, whichever way round it was written."""
    rows = comparisons[(comparisons["set"] == which) & (comparisons["metric"] == "c_index")]
    for first, second, sign in ((model, against, 1), (against, model, -1)):
        found = rows[(rows["model_a"] == first) & (rows["model_b"] == second)]
        if len(found):
            value, low, high = (float(found[c].iloc[0]) for c in ("difference", "ci_low", "ci_high"))
            return Estimate(value, low, high) if sign == 1 else Estimate(-value, -high, -low)
    return Estimate(float("nan"), float("nan"), float("nan"))


def _calibration(job: ReportJob, metrics: pd.DataFrame, which: str) -> str:
    """A sentence on the last horizon at which the headline model's probabilities could be judged."""
    for days in sorted(job.settings.evaluation.horizons_days, reverse=True):
        ratio = _estimate(metrics, job.headline, which, f"observed_expected_{days:g}d")
        slope = _estimate(metrics, job.headline, which, f"calibration_slope_{days:g}d")
        if not is_known(ratio.value):
            continue
        when = horizon_name(days, job.settings.cohort.time_unit)
        said = f"observed/expected events {format_interval(ratio.value, ratio.low, ratio.high, 2)}"
        if is_known(slope.value):
            said += f", slope {format_interval(slope.value, slope.low, slope.high, 2)}"
        away = [text for text in (_off(ratio, _RATIO), _off(slope, _SLOPE)) if text]
        judged = [each for each in (ratio, slope) if is_known(each.low) and is_known(each.high)]
        agreed = "no deviation is shown (1 is ideal)" if judged else "agreement cannot be judged"
        return f"Probabilities at {when}, {which}: {said}: {'; '.join(away) or agreed}."
    return ""


_RATIO = ("too few events are predicted", "too many events are predicted")
_SLOPE = ("predictions are too close together", "predictions are too far apart")


def _off(estimate: Estimate, words: tuple[str, str]) -> str:
    """What an interval that does not hold 1 says: the first words above 1, the second below."""
    if is_known(estimate.low) and estimate.low > 1:
        return words[0]
    return words[1] if is_known(estimate.high) and estimate.high < 1 else ""


def _doubts(job: ReportJob, evaluated: Evaluated, sets: list[str]) -> list[str]:
    doubts = []
    if evaluated.excluded:
        doubts.append(f"{evaluated.excluded} of {evaluated.listed} patients were excluded (see Cohort).")
    for network in job.networks():
        dice = _estimate(evaluated.metrics, network, sets[0], "dice").value
        if is_known(dice) and dice < LEAST_DICE:
            doubts.append(
                f"The network {display_name(network)} hardly finds the tumour (mean Dice {format_number(dice, 2)}): "
                "it was trained too little, or on too few contours."
            )
    if "external" not in sets:
        doubts.append("No patients of another source were judged: how the models do elsewhere is not shown.")
    doubts += job.applied.doubts if job.applied is not None else ()
    doubts.append(
        f"Intervals are over {evaluated.resampled}; that another training would give another model is not in them. "
        "Comparisons beside this one are exploratory."
    )
    return doubts
