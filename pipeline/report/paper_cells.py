"""The numbers of this study that stand in the cells of a paper's tables.

Headline numbers (`development`, `external`) are those of `metrics.csv` and `subgroups.csv`, with their
intervals. Numbers of single runs (`train`, `validation`, `test`, one fold, or `external` with `each_run`)
are scored here from each run's predictions and averaged over runs, as papers print them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.metrics.concordance import concordance_index
from pipeline.metrics.evaluated_models import EvaluatedModel, predictions_of
from pipeline.metrics.scores import score
from pipeline.metrics.subgroups import level_names
from pipeline.report.formatting import is_known
from pipeline.report.predicted_survival import read_runs
from pipeline.settings.paper import CellSource, PaperSettings

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.sections import StudyResults

NAN = float("nan")


@dataclass(frozen=True)
class Cell:
    """A number of this study.

    Attributes:
        value: The number; NaN where there is none.
        low: Lower end of its interval; NaN where it has none.
        high: Upper end.
        spread: What stands behind ±: the SD or standard error that the cell asks for; NaN: none.
        patients: Number of patients it is of; of runs, the range over runs, e.g. `30–31`.
        events: How many of them had the event, likewise; empty without outcomes.
        runs: Number of runs that it is the mean of; 0: a headline number.
        note: Why there is none, or what has to be known.
    """

    value: float = NAN
    low: float = NAN
    high: float = NAN
    spread: float = NAN
    patients: str = ""
    events: str = ""
    runs: int = 0
    note: str = ""


@dataclass
class CellReader:
    """Reads cells from the results of a study.

    Attributes:
        study: The study's results.
        runs: Model → each run's predictions, read once.
    """

    study: StudyResults
    runs: dict[str, list[pd.DataFrame]] = field(default_factory=dict)

    def read(self, source: CellSource) -> Cell:
        """The number that a cell asks for."""
        by_run = source.set in ("train", "validation", "test") or source.each_run
        return self._of_runs(source) if by_run else self._headline(source)

    def _headline(self, source: CellSource) -> Cell:
        import pandas as pd

        table = self.study.metrics
        column, _, level = source.subgroup.partition("=")
        if column:
            path = self.study.job.results / "metrics" / "subgroups.csv"
            table = pd.read_csv(path, dtype={"level": str}, keep_default_na=False, na_values={"value": [""]})
            table = table[(table["column"] == column) & (table["level"] == level)]
        chosen = table[
            (table["model"] == source.model)
            & (table["set"] == source.set)
            & (table["metric"] == source.metric)
        ]
        if chosen.empty:
            return Cell(
                note=f"{source.model} has no {source.metric} of {source.subgroup or source.set} patients"
            )
        row = chosen.iloc[0]
        return Cell(
            value=_number(row["value"]),
            low=_number(row["ci_low"]),
            high=_number(row["ci_high"]),
            patients=_count(row["patients"]),
            events=_count(row["events"]),
            note=str(row["note"]) if is_known(row["note"]) else "",
        )

    def _of_runs(self, source: CellSource) -> Cell:
        runs = self.runs.setdefault(source.model, read_runs(self.study.job, source.model))
        if source.fold is not None:
            runs = runs[source.fold : source.fold + 1]
        scores = [self._run_score(run, source) for run in runs]
        known = np.array([each.value for each in scores if is_known(each.value)])
        if not len(known):
            return Cell(note=scores[0].note if scores else "no run was found")
        spread = NAN
        if source.spread == "sd_of_patients":
            spread = float(np.mean([each.spread for each in scores if is_known(each.value)]))
        elif len(known) > 1:
            spread = float(known.std(ddof=1))
            if source.spread == "se_of_runs":
                spread /= len(known) ** 0.5
        return Cell(
            value=float(known.mean()),
            spread=spread,
            patients=_range([each.patients for each in scores]),
            events=_range([each.events for each in scores]),
            runs=len(known),
            note=f"{len(known)} of {len(scores)} runs have a value" if len(known) < len(scores) else "",
        )

    def _run_score(self, run: pd.DataFrame, source: CellSource) -> Cell:
        """One run's score: by the functions of `evaluate`, on the patients of its set."""
        part = run[run["set"] == source.set].set_index("patient_id")
        column, _, level = source.subgroup.partition("=")
        cohort = self.study.cohort.loc[part.index]
        if column:
            named = zip(self.study.cohort.index, level_names(self.study.cohort[column]), strict=True)
            of_level = {patient for patient, name in named if name == level}
            cohort = cohort[cohort.index.isin(of_level)]
            part = part.loc[cohort.index]
        if part.empty:
            return Cell(note=f"no {source.subgroup or source.set} patient")
        events = str(int(cohort["event"].sum())) if "event" in cohort else ""
        empty = Cell(patients=str(len(part)), events=events)
        if source.metric == "c_index":
            time, event = cohort["time_days"].to_numpy(float), cohort["event"].to_numpy(float)
            value = concordance_index(time, event, part["risk"].to_numpy(float))
            return replace(empty, value=value, note="" if is_known(value) else "no comparable pair")
        model = EvaluatedModel(source.model, part, {"members": {}}, {})
        predictions = predictions_of(
            model, str(source.set), dict.fromkeys(part.index, -1), cohort, self.study.job.settings.evaluation
        )
        confidence = self.study.job.settings.evaluation.confidence
        once = np.ones((1, len(part)))
        found = next((r for r in score(predictions, once, confidence) if r.metric == source.metric), None)
        if found is None:
            return Cell(note=f"{source.model} has no {source.metric} of {source.set} patients")
        # Only a metric of single patients is a column, and has an SD over them.
        spread = part[source.metric].std(ddof=1) if source.metric in part else NAN
        return replace(empty, value=found.interval.value, spread=float(spread), note=found.note)


def read_tables(paper: PaperSettings, study: StudyResults) -> pd.DataFrame:
    """A line per cell of all tables: where it stands, what is printed, what this study finds.

    Returns:
        Columns table, row, column, model, metric, set, subgroup, fold, published, published_sd,
        published_se, ours, ci_low, ci_high, ours_spread, spread, patients, events, runs, note.
    """
    import pandas as pd

    reader, lines = CellReader(study), []
    for key, table in paper.tables.items():
        for row in table.rows:
            for column, printed in row.printed.items():
                source = table.source(row, column)
                cell = reader.read(source)
                lines.append(
                    {
                        "table": key,
                        "row": row.title,
                        "column": column,
                        "model": source.model,
                        "metric": source.metric,
                        "set": source.set,
                        "subgroup": source.subgroup,
                        "fold": source.fold,
                        "published": printed.value if printed else NAN,
                        "published_sd": printed.sd if printed else None,
                        "published_se": printed.se if printed else None,
                        "ours": cell.value,
                        "ci_low": cell.low,
                        "ci_high": cell.high,
                        "ours_spread": cell.spread,
                        "spread": source.spread or ("sd_of_runs" if cell.runs > 1 else "interval"),
                        "patients": cell.patients,
                        "events": cell.events,
                        "runs": cell.runs,
                        "note": cell.note,
                    }
                )
    return pd.DataFrame(lines)


def _number(value: Any) -> float:
    return float(value) if is_known(value) and value != "" else NAN


def _count(value: Any) -> str:
    return f"{float(value):.0f}" if is_known(value) and value != "" else ""


def _range(counts: Sequence[str]) -> str:
    """`30` or `30–31` of counts as text; empty where one is."""
    if not all(counts):
        return ""
    numbers = [int(count) for count in counts]
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low}–{high}"
