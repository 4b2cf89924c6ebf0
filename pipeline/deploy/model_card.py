"""The model card of a bundle: what it predicts, from whom it learned, how well, and for whom not.

Plain text that anybody can read without this software (Mitchell et al., FAT* 2019); every number is
read off the study's `metrics.csv`, nothing is estimated here. It identifies nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.deploy.covariate_shift import covariate_title
from pipeline.deploy.manifest import Manifest
from pipeline.metrics.time_dependent import LEAST_EVENTS
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

_AT_HORIZONS = {
    "auc": "AUC",
    "observed_expected": "observed/expected events (1 is ideal)",
    "calibration_slope": "calibration slope (1 is ideal)",
    "ici": "ICI, mean distance of predicted and observed probability (0 is ideal)",
}
_OF_CLASSES = {
    "auc": "AUC (0.5 = chance)",
    "accuracy": "accuracy",
    "f1": "F1",
    "brier": "Brier score (0 is best)",
    "calibration_slope": "calibration slope (1 is ideal)",
}
"""End of a metric of a class outcome → its title; the metric begins with the label."""
_OVERALL = {"c_index": "C-index (0.5 = chance)", "dice": "mean Dice"}


@dataclass(frozen=True)
class CardFacts:
    """What the card says beside the manifest.

    Attributes:
        metrics: `metrics.csv` of the study.
        external: Numbers of external patients and their events; None where there are none (of the
            events: in a study without outcomes).
        runs: How often each member was trained: the number of folds, or of repeats without held-out patients.
        cross_validated: Whether each development patient was held out by one fold.
        subset: Subset of the cohort that the packed network was trained and judged on; empty: all patients.
        learned: Numbers of development patients of it and their events, as for `external`.
        grouped: Whether whole groups of patients were drawn for intervals, and not single patients.
    """

    metrics: pd.DataFrame
    external: tuple[int, int | None] | None
    runs: int
    cross_validated: bool
    learned: tuple[int, int | None]
    subset: str = ""
    grouped: bool = False


def model_card(manifest: Manifest, facts: CardFacts) -> str:
    """The card as Markdown.

    Args:
        manifest: The bundle's manifest; its `files` are not read.
        facts: Numbers of the study's evaluation.
    """
    lines = [f"# Model card: {manifest.model} of {manifest.study.title}", ""]
    lines += [*_use(manifest), "", "## Patients", "", *_patients(manifest, facts)]
    lines += ["", "## How well it does", "", *_performance(manifest, facts)]
    lines += ["", "## For whom it may not hold", "", *_limits(manifest, facts)]
    lines += ["", "## How it was made", "", *_making(manifest, facts)]
    return "\n".join(lines) + "\n"


def _use(manifest: Manifest) -> Iterator[str]:
    yield "Research software; not for the care of patients."
    if manifest.study.note:
        yield manifest.study.note
    yield ""
    if manifest.risk_cuts:
        times = ", ".join(horizon_name(days, manifest.study.time_unit) for days in manifest.horizons_days)
        yield f"- Predicts: risk (Z, higher = worse), risk group and survival at {times}."
        yield f"- Endpoint: {manifest.study.endpoint_name}."
    else:
        yield "- Predicts masks, boxes or class outcomes; no survival."
    if manifest.logistic_models():
        labels = sorted({member.label for member in manifest.logistic_models().values()})
        yield f"- Predicts the probability of the classes of {', '.join(labels)}."
    yield f"- Needs: {' and '.join(channel.upper() for channel in manifest.channels)} as {manifest.source.upper()}."
    if manifest.needs_contour:
        yield f"- Needs a contour: {manifest.needs_contour}."
    if manifest.clinical:
        yield f"- Needs clinical values: {', '.join(manifest.clinical)}."


def _patients(manifest: Manifest, facts: CardFacts) -> Iterator[str]:
    cohort = manifest.cohort
    whose = f" of the subset {facts.subset}" if facts.subset else ""
    yield f"- Learned from {_counted(*facts.learned)}{whose} in {_runs(facts)}."
    if facts.subset:
        yield f"- The ranges below are of all {cohort.patients} development patients, not of the subset alone."
    if facts.external is None:
        yield "- No external patients: how it does elsewhere is not shown."
    else:
        yield f"- Judged on {_counted(*facts.external)}{whose} of the external set."
    if cohort.scanners:
        yield f"- PET scanners: {', '.join(cohort.scanners)}."
    yield ""
    yield "Patients like the development patients lie between:"
    yield ""
    yield "| covariate | from | to |"
    yield "|---|---|---|"
    for name, known in cohort.covariates.items():
        yield f"| {covariate_title(name)} | {known.low:.4g} | {known.high:.4g} |"
    for name, levels in cohort.levels.items():
        yield f"| {name} | one of {', '.join(levels)} | |"


def _runs(facts: CardFacts) -> str:
    if facts.cross_validated:
        return f"{facts.runs} folds"
    return f"{facts.runs} training{'s' * (facts.runs > 1)}, without held-out patients"


def _counted(patients: int, events: int | None) -> str:
    return f"{patients} patients" + ("" if events is None else f" ({events} with the event)")


def _performance(manifest: Manifest, facts: CardFacts) -> Iterator[str]:
    """A table: metrics of the packed model in each set, with intervals."""
    evaluated = facts.metrics[facts.metrics["model"] == manifest.model]
    sets = [name for name in ("development", "external") if name in set(evaluated["set"])]
    titles = dict(_OVERALL)
    for days in manifest.horizons_days:
        when = horizon_name(days, manifest.study.time_unit)
        titles |= {f"{metric}_{days:g}d": f"{title}, {when}" for metric, title in _AT_HORIZONS.items()}
    for label in _labels(evaluated["metric"]):
        titles |= {f"{label}_{metric}": f"{label}: {title}" for metric, title in _OF_CLASSES.items()}
    over = "whole groups of patients" if facts.grouped else "patients"
    if facts.cross_validated:
        yield f"Development patients were predicted by the fold that held them out; intervals are over {over}."
    else:
        yield f"No development patient was held out, so none is judged; intervals are over {over}."
    yield ""
    yield "| metric | " + " | ".join(sets) + " |"
    yield "|---|" + "---|" * len(sets)
    for metric, title in titles.items():
        rows = evaluated[evaluated["metric"] == metric].set_index("set")
        if len(rows):
            cells = [_cell(rows, name) for name in sets]
            yield f"| {title} | " + " | ".join(cells) + " |"


def _labels(metrics: Iterable[str]) -> list[str]:
    """Class outcomes that metrics are of, in order."""
    aucs = [name for name in dict.fromkeys(metrics) if name.startswith("label_") and name.endswith("_auc")]
    return [name.removesuffix("_auc") for name in aucs]


def _cell(rows: pd.DataFrame, name: str) -> str:
    """A value with its interval, or why there is none."""
    if name not in rows.index:
        return "–"
    row = rows.loc[name]
    if row["value"] != row["value"]:
        return str(row["note"]).split(";")[0]
    if row["ci_low"] != row["ci_low"]:
        return f"{row['value']:.2f}"
    return f"{row['value']:.2f} ({row['ci_low']:.2f} to {row['ci_high']:.2f})"


def _limits(manifest: Manifest, facts: CardFacts) -> Iterator[str]:
    yield "- Patients outside of the ranges above, other scanners and other tracers: the prediction is flagged."
    yield "- Another endpoint, treatment or time than the study's: not tested."
    events = [facts.learned[1], None if facts.external is None else facts.external[1]]
    if any(count is not None and count < 2 * LEAST_EVENTS for count in events):
        yield f"- Fewer than {2 * LEAST_EVENTS} events in a set: its values are uncertain or not estimated."
    yield "- That another training would give another model is not in the intervals."
    for line in manifest.privacy:
        yield f"- What is in the bundle: {line}."


def _making(manifest: Manifest, facts: CardFacts) -> Iterator[str]:
    for name, member in manifest.members.items():
        yield f"- {name}: {member.kind}, {_runs(facts)}."
    libraries = ", ".join(f"{name} {version}" for name, version in manifest.software.libraries.items())
    yield f"- SUVival {manifest.software.version}, code {manifest.software.code}; {libraries}."
    yield "- The bundle's identity is in the file `ID`; ask for it by `--expect`."
