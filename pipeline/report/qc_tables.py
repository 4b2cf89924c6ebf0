"""Quality control of each patient: tables of SUV and registration, the figure of registration."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.formatting import format_number
from pipeline.report.job import ReportJob
from pipeline.report.style import COLOURS, FAINT, WIDTH, FigureCanvas

if TYPE_CHECKING:
    import pandas as pd

SUV_COLUMNS = {
    "scanner": "Scanner",
    "tracer": "Tracer",
    "dose_mbq": "Dose (MBq)",
    "dose_mbq_per_kg": "MBq/kg",
    "weight_kg": "Weight (kg)",
    "units": "Units",
    "decay_correction": "Decay",
    "uptake_minutes": "Uptake (min)",
    "times": "Times",
    "factor": "Factor",
    "suvmax": "SUVmax",
    "body": "Body SUV",
    "region": "Reference SUV",
    "flags": "Flags",
    "assumptions": "Assumptions",
    "path": "Path taken",
}
"""Entry of `suv.json` → title; the factor is in g/mL per stored unit.

`times` is every element that speaks of the time that values refer to, in minutes after the injection,
the one that was taken marked. `body` is the median SUV of all voxels that are body by uptake, `region`
the mean in the ROI of `contours.reference_roi`, where the study has one.
"""
ON_PATIENT_PAGE = ("Dose (MBq)", "Weight (kg)", "Units", "Decay", "Times", "Factor")
"""Columns of the CSV that the page's table leaves to the patients' own pages."""
DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
REGISTRATION_COLUMNS = {
    "rotation_deg": "Rotation (°)",
    "translation_mm": "Translation (mm)",
    "overlap_before": "Overlap before",
    "overlap_after": "Overlap after",
    "similarity_before": "Similarity before",
    "similarity_after": "Similarity after",
    "starts_tried": "Starts tried",
}
"""Entry of `quality.json` → title; a translation's length at the scanner's origin."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an empty one where the file is absent."""
    if not path.is_file():
        return {}
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def suv_table(job: ReportJob) -> pd.DataFrame:
    """A row per patient with usable SUV: scanner, units, decay path, factor, flags.

    Flagged patients come first, then by patient_id. Dates are replaced by days since each
    patient's first one: a report is shared, and the date of a scan identifies a patient.
    """
    import pandas as pd

    rows = []
    for patient_id in sorted(job.patients):
        record = read_json(job.results / "suv" / patient_id / "suv.json")
        if not record:
            continue
        record["body"] = (record.get("reference") or {}).get("median")
        contours = read_json(job.results / "contours" / patient_id / "contours.json")
        record["times"] = [time_text(entry) for entry in record.get("time_evidence") or ()]
        record["region"] = (contours.get("reference") or {}).get("mean")
        row = {"Patient": patient_id}
        row.update({title: plain(record.get(key)) for key, title in SUV_COLUMNS.items()})
        rows.append(row)
    frame = pd.DataFrame(rows, columns=["Patient", *SUV_COLUMNS.values()])
    if frame["Reference SUV"].isna().all():
        frame = frame.drop(columns="Reference SUV")  # the study has no contours.reference_roi
    order = frame.assign(_ok=frame["Flags"].fillna("").eq("")).sort_values(["_ok", "Patient"])
    return order.drop(columns="_ok").reset_index(drop=True)


# How the audit calls the elements of `time_evidence`, by their tag and what follows it.
_TIME_NAMES = {
    "(0018,9701)": "decay correction",
    "Siemens": "Siemens private",
    "GE": "GE private",
    "(0008,0031)": "series",
    "(0008,0032) Acquisition Time, first": "acquisition first",
    "(0008,0032) Acquisition Time, last": "acquisition last",
    "(0054,1300)": "frames (0054,1300)",
    "(0054,1321)": "decay factors",
}


def time_text(entry: dict[str, Any]) -> str:
    """One element's time: `▸ series 60.0`, or `decay factors 72.0 (+7.9 %)` where it would change SUV."""
    element = str(entry["element"])
    name = next((text for start, text in _TIME_NAMES.items() if element.startswith(start)), element)
    minutes = "?" if entry["minutes"] is None else clock_minutes(float(entry["minutes"]))
    percent = float(entry["suv_percent"])
    change = f" ({changed_suv(percent)})" if abs(percent) > 0.5 and not entry["chosen"] else ""
    return ("▸ " if entry["chosen"] else "") + f"{name} {minutes}{change}"


def clock_minutes(minutes: float) -> str:
    """Minutes after the injection; a damaged time lies years away, and the number says nothing more."""
    return f"{minutes:.1f}" if abs(minutes) < 1e6 else "years away"


def changed_suv(percent: float) -> str:
    """A change of SUV in percent; from eleven times as high on, the number says nothing more."""
    return f"{percent:+.1f} %" if percent < 1000 else "more than ten times"


def plain(value: Any) -> Any:
    """A list as one text, numbers with five significant digits, dates as days."""
    if isinstance(value, list | tuple):
        return without_dates("; ".join(str(v) for v in value))
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return without_dates(value) if isinstance(value, str) else value


def without_dates(text: str) -> str:
    """Dates as days since the text's first one: `2019-01-10 09:20` → `day 0 09:20`."""
    from datetime import date

    days = {}
    for word in set(DATE.findall(text)):
        try:
            days[word] = date.fromisoformat(word).toordinal()
        except ValueError:
            continue
    first = min(days.values(), default=0)
    return DATE.sub(lambda m: f"day {days[m[0]] - first}" if m[0] in days else m[0], text)


def suv_on_page(table: pd.DataFrame) -> pd.DataFrame:
    """The table of SUV as shown: what differs between patients, and a short path; each patient's page has the rest."""
    table = table.drop(columns=[title for title in ON_PATIENT_PAGE if title in table])
    return table.assign(**{"Path taken": [_short_path(str(text)) for text in table["Path taken"].fillna("")]})


def _short_path(text: str) -> str:
    """How long the dose decayed (else the last step), and the source of the reference time."""
    steps = text.split("; ")
    decayed = re.search(r"dose decayed over ([\d.]+) s", steps[-1])
    last = f"dose decayed {float(decayed[1]):.0f} s" if decayed else steps[-1].split(", ")[0]
    references = [re.match(r"reference time .*?: (?:\([^)]*\) )?([^,]+)", step) for step in steps]
    sources = [reference[1] for reference in references if reference]
    return f"{last}; {sources[-1]}" if sources and decayed else last


def registration_table(job: ReportJob) -> pd.DataFrame:
    """A row per registered patient: rotation, translation, overlap, similarity, limits.

    Columns: patient_id, note, those of :data:`REGISTRATION_COLUMNS`, max_rotation_deg, min_overlap.
    Empty where no patient was registered.
    """
    import pandas as pd

    rows = []
    for patient_id in sorted(job.patients):
        record = read_json(job.results / "registration" / patient_id / "quality.json")
        if record.get("method") != "template":
            continue
        row: dict[str, Any] = {"patient_id": patient_id, "note": record.get("note", "")}
        row.update({key: record.get(key) for key in REGISTRATION_COLUMNS})
        translation = record.get("translation_mm")
        row["translation_mm"] = float(np.linalg.norm(translation)) if translation else None
        limits = record.get("limits", {})
        row.update({key: limits.get(key) for key in ("max_rotation_deg", "min_overlap")})
        rows.append(row)
    return pd.DataFrame(rows)


def registration_on_page(registration: pd.DataFrame) -> pd.DataFrame:
    """The least overlapping first, with titles and sensible digits."""
    import pandas as pd

    digits = {"rotation_deg": 1, "translation_mm": 0, "starts_tried": 0}
    table = registration.sort_values(["overlap_after", "patient_id"], na_position="last")
    shown = {"Patient": table["patient_id"]}
    for key, title in REGISTRATION_COLUMNS.items():
        shown[title] = [format_number(value, digits.get(key, 3)) for value in table[key]]
    return pd.DataFrame({**shown, "Note": table["note"]})


def draw_registration(registration: pd.DataFrame, canvas: FigureCanvas) -> str | None:
    """Overlap with the template against rotation and translation, with the limits.

    Args:
        registration: See :func:`registration_table`.
        canvas: Saves the figure.

    Returns:
        The figure's file name, or None where no overlap is known.
    """
    rows = registration[registration["overlap_after"].notna()]
    if rows.empty:
        return None
    figure, axes = canvas.new(0.85 * WIDTH, 3.4, 1, 2, sharey=True)
    for axis, key, label in (
        (axes[0, 0], "rotation_deg", "Rotation (°)"),
        (axes[0, 1], "translation_mm", "Translation at the scanner's origin (mm)"),
    ):
        axis.scatter(rows[key], rows["overlap_after"], s=20, color=COLOURS[0], alpha=0.7, lw=0, clip_on=False)
        axis.axhline(float(rows["min_overlap"].iloc[0]), color=COLOURS[1], lw=1, ls="--")
        axis.set(xlabel=label)
    axes[0, 0].axvline(float(rows["max_rotation_deg"].iloc[0]), color=COLOURS[1], lw=1, ls="--")
    for axis in axes[0]:
        axis.set_xlim(left=0)
    axes[0, 0].set(ylabel="Overlap with the template (Dice)", ylim=(None, 1.02))
    least = rows.nsmallest(3, "overlap_after")
    for axis, key in ((axes[0, 0], "rotation_deg"), (axes[0, 1], "translation_mm")):
        axis.scatter(
            least[key],
            least["overlap_after"],
            s=70,
            facecolors="none",
            edgecolors=COLOURS[1],
            lw=1,
            clip_on=False,
        )
    # Named above the axes: beside points that lie together, names would cover one another.
    names = ", ".join(str(patient_id) for patient_id in least["patient_id"])
    axes[0, 0].set_title(f"ringed: {names}", fontsize=8, weight="normal", color=FAINT)
    axes[0, 1].set_title("dashed: limits", fontsize=8, weight="normal", color=FAINT)
    figure.tight_layout()
    return canvas.save(figure, "registration")


def copy_least_overlapping(
    results: Path, registration: pd.DataFrame, folder: Path, count: int = 3
) -> list[str]:
    """Copy the overlays of the patients that overlap least with the template; returns file names.

    Args:
        results: The study's folder.
        registration: See :func:`registration_table`.
        folder: Receives the files.
        count: Number of patients.
    """
    names = []
    rows = registration[registration["overlap_after"].notna()].sort_values(["overlap_after", "patient_id"])
    for patient_id in rows["patient_id"].head(count):
        overlay = results / "registration" / patient_id / "quality.png"
        if overlay.is_file():
            name = f"registration_{patient_id}.png"
            shutil.copyfile(overlay, folder / name)
            names.append(name)
    return names
