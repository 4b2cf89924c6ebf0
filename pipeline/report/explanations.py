"""Saliency maps of the networks a study explains, with what the sanity check says of them."""

from __future__ import annotations

import json
import shutil
from typing import Any

from pipeline.report.formatting import fixed, pretty
from pipeline.report.page import ReportContent, Table
from pipeline.report.sections import Source
from pipeline.report.style import FigureCanvas

WHAT = {"risk": "risk", "label": "first label", "mask": "tumour probability"}
PICTURES = ("maps", "sanity")


def explained(source: Source, canvas: FigureCanvas, content: ReportContent) -> None:
    """Copy the pictures of every explained network and table its verdicts."""
    import pandas as pd

    found: list[dict[str, Any]] = []
    rows = []
    for model in source.job.settings["explain"]["models"]:
        folder = source.job.results / "explain" / model
        about = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
        one = {"model": model, "target": WHAT[about["target"]]}
        canvas.folder.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            one[name] = f"explain_{model}_{name}.png"
            shutil.copyfile(folder / f"{name}.png", canvas.folder / one[name])
        found.append(one)
        rows += _rows(model, about["sanity"], pd.read_csv(folder / "sanity.csv"))
    content.lists["explained"] = found
    title = "Maps of trained and of random weights"
    note = "Rank correlation (absolute), mean over patients, with every layer random."
    content.tell("sanity", Table(title, pd.DataFrame(rows), note=note))


def _rows(model: str, verdicts: dict[str, str], table: Any) -> list[dict[str, str]]:
    cascade = table[table["order"] == "cascade"]
    last = cascade.sort_values("step").groupby("map").last()["rho_absolute"]
    return [
        {"model": pretty(model), "map": name, "rank_correlation": fixed(last[name], 2), "verdict": verdict}
        for name, verdict in verdicts.items()
    ]
