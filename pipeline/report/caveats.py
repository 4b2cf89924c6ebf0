"""What has to be known to read the numbers: caveats, few events, warnings of models and ensembles."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.metrics.time_dependent import LEAST_EVENTS
from pipeline.report.flow import SetSize
from pipeline.report.formatting import display_name
from pipeline.report.job import ReportJob

if TYPE_CHECKING:
    import pandas as pd

FEW_EVENTS = 20
"""Events of a set below which its numbers are shown with a warning."""
CAVEAT_PREFIX = "marked: "
"""Begins a note in `metrics.csv` that must be printed beside the number."""
NUMBERS = re.compile(r"\d+(\.\d+)?")


def survival_caveats(job: ReportJob, metrics: pd.DataFrame) -> list[str]:
    """What must be shown beside every survival table: the plan's caveats and those of the metrics.

    Args:
        job: The study.
        metrics: `metrics.csv`.
    """
    path = job.results / "plan.json"
    planned = json.loads(path.read_text(encoding="utf-8")).get("caveats", []) if path.is_file() else []
    models: dict[str, list[str]] = {}
    for row in metrics[metrics["metric"] == "c_index"].to_dict("records"):
        name = display_name(row["model"])
        for note in str(row.get("note") or "").split("; "):
            if note.startswith(CAVEAT_PREFIX) and name not in models.setdefault(note, []):
                models[note].append(name)
    of_models = [f"{note.removeprefix(CAVEAT_PREFIX)} ({', '.join(names)})" for note, names in models.items()]
    return [str(caveat) for caveat in planned] + of_models


def few_events(sets: dict[str, SetSize]) -> str:
    """The warning at the head, at survival tables and figures where a set has few events, else empty.

    Below ten events of a set nothing is estimated; below twenty the values are uncertain.
    """
    known = {name: size.events for name, size in sets.items() if size.events is not None}
    refused = [_events(name, events) for name, events in known.items() if events < LEAST_EVENTS]
    uncertain = [_events(name, n) for name, n in known.items() if LEAST_EVENTS <= n < FEW_EVENTS]
    parts = []
    if refused:
        parts.append(f"{', '.join(refused)}: with fewer than {LEAST_EVENTS} nothing is estimated")
    if uncertain:
        parts.append(
            f"{', '.join(uncertain)}: with fewer than {FEW_EVENTS} values are uncertain, read the intervals"
        )
    return f"Few events ({'; '.join(parts)})" if parts else ""


def _events(name: str, events: int) -> str:
    return f"{name} {events} event{'s' * (events != 1)}"


def model_remarks(job: ReportJob) -> list[str]:
    """Warnings of the fits (`warnings` of `model.json`), once per model, with in how many folds.

    Sentences that differ in their numbers only count as one; those of the first fold are shown.
    """
    remarks = []
    for model in job.settings.models:
        folders, same = job.folds(model), dict[str, list[str]]()
        for path in (folder / "model.json" for folder in folders):
            info = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            for line in info.get("warnings", []):
                same.setdefault(NUMBERS.sub("#", line), []).append(line)
        for lines in same.values():
            first = "" if len(set(lines)) == 1 else ", the first of them"
            remarks.append(f"{display_name(model)}, {len(lines)} of {len(folders)} folds{first}: {lines[0]}")
    return remarks


def ensemble_remarks(results: Path, names: Sequence[str]) -> list[str]:
    """Warnings of the ensembles, each sentence once."""
    remarks: dict[str, None] = {}
    for name in names:
        path = results / "ensemble" / f"{name}.json"
        if path.is_file():
            remarks.update(dict.fromkeys(json.loads(path.read_text(encoding="utf-8")).get("warnings", [])))
    return list(remarks)
