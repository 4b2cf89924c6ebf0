"""A page per patient: pictures and viewer, flags with reasons, how SUV came about, alignment, predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.report.formatting import display_name, format_number, is_known
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent, page_templates
from pipeline.report.patient_volumes import NIIVUE, write_viewer
from pipeline.report.qc_tables import REGISTRATION_COLUMNS, read_json, time_text, without_dates
from pipeline.report.registration_blink import write_blink
from pipeline.report.sections import StudyResults
from pipeline.tables.outcomes import has_outcomes
from pipeline.tables.parquet import read_frame
from pipeline.tables.time_units import horizon_name

if TYPE_CHECKING:
    import pandas as pd

VIEWER = "viewer"
"""Folder of the viewer's library."""
SUV_FACTS = {
    "normalisation": "Normalisation",
    "scanner": "Scanner",
    "tracer": "Tracer",
    "radionuclide": "Radionuclide",
    "units": "Units of stored values",
    "decay_correction": "Decay correction",
    "weight_kg": "Weight (kg)",
    "dose_mbq": "Dose (MBq)",
    "dose_mbq_per_kg": "Dose per weight (MBq/kg)",
    "uptake_minutes": "Uptake time (min)",
    "factor": "Factor (g/mL per stored unit)",
    "suvmax": "SUVmax of the scan",
}
"""Entry of `suv.json` → its name on the page."""
LIMITS = {
    "rotation_deg": ("max_rotation_deg", "at most"),
    "overlap_after": ("min_overlap", "at least"),
    "similarity_after": ("min_similarity", "at least"),
}
"""Measure of the registration → its limit."""


@dataclass(frozen=True)
class PatientPrediction:
    """A model's prediction of a patient.

    Attributes:
        model: Its name.
        risk: Z-score of the risk, higher = worse, as printed.
        rank: Place among the set's patients, 1 = highest risk, e.g. `3 of 40`.
        survival: Probability of survival at each horizon, as printed.
        dice: Dice of its mask, as printed.
    """

    model: str
    risk: str
    rank: str
    survival: tuple[str, ...]
    dice: str


def write_pages(study: StudyResults, content: ReportContent, out: Path) -> None:
    """Write `patients/{patient}.html` of every patient with a picture, and the viewer's library once.

    Args:
        study: The study.
        content: Pictures, flags and pages of the patients.
        out: The report's folder.
    """
    job, patients = study.job, list(content.pictures)
    if not patients:
        return
    if any((out / "patients" / f"{patient}.js").is_file() for patient in patients):
        write_viewer(out / VIEWER)
    tables = _predictions(job)
    template = page_templates().get_template("patient.html.j2")
    days = sorted(job.settings.evaluation.horizons_days)
    for number, patient_id in enumerate(patients):
        suv = read_json(job.results / "suv" / patient_id / "suv.json")
        page = template.render(
            settings=job.settings, applied=job.applied, patient_id=patient_id, picture=content.pictures[patient_id],
            described=_described(study, patient_id),
            previous=patients[number - 1] if number else "", next=(*patients[number + 1 :], "")[0],
            flags=content.flags[patient_id].flags,
            predictions=[p for name, t in tables.items() if (p := _prediction(name, t, patient_id, days))],
            horizons=[horizon_name(day, job.settings.cohort.time_unit) for day in days],
            suv=_suv_facts(suv), steps=_steps(suv),
            times=[time_text(entry) for entry in suv.get("time_evidence") or ()],
            alignment=_alignment(read_json(job.results / "registration" / patient_id / "quality.json")),
            blink=write_blink(
                job.results / "registration" / patient_id, out / "patients" / f"{patient_id}_registration.png"
            ),
            overlay=f"registration_{patient_id}.png" in content.registration_overlays,
            volumes=(out / "patients" / f"{patient_id}.js").is_file(), library=f"../{VIEWER}/{NIIVUE}",
        )  # fmt: skip
        (out / "patients" / f"{patient_id}.html").write_text(page, encoding="utf-8")


def _predictions(job: ReportJob) -> dict[str, pd.DataFrame]:
    """Model or ensemble → its predictions by patient, of those that the study has."""
    paths = {
        name: job.results / "ensemble" / f"{name}.parquet"
        for name in dict.fromkeys([*job.settings.ensembles, *job.settings.models])
    }
    return {name: read_frame(path).set_index("patient_id") for name, path in paths.items() if path.is_file()}


def _prediction(
    model: str, table: pd.DataFrame, patient_id: str, days: list[float]
) -> PatientPrediction | None:
    """What a model says of a patient; None where it did not predict the patient."""
    if patient_id not in table.index:
        return None
    row = table.loc[patient_id]
    same_set = table[table["set"] == row["set"]]
    rank = "–"
    if "risk" in table and is_known(row["risk"]):
        known = same_set["risk"].dropna()
        rank = f"{int((known > row['risk']).sum()) + 1} of {len(known)}"
    survival = tuple(format_number(row.get(f"survival_{day:g}d"), 2) for day in days)
    risk, dice = (format_number(row.get(name), 2) for name in ("risk", "dice"))
    return PatientPrediction(display_name(model), risk, rank, survival, dice)


def _described(study: StudyResults, patient_id: str) -> str:
    """Set, centre and what became of the patient, in a sentence."""
    row = study.cohort.loc[patient_id]
    said = f"{str(row['set']).capitalize()}, centre {row['centre']}"
    if has_outcomes(study.cohort):
        unit = "" if study.job.settings.cohort.time_unit == "none" else " days"
        event = "event" if int(row["event"]) else "followed without event"
        said += f"; {event} at {float(row['time_days']):.0f}{unit}"
    return f"{said}."


def _suv_facts(suv: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of what SUV was computed from."""
    facts = []
    for key, title in SUV_FACTS.items():
        value = suv.get(key)
        if value not in (None, "", []):
            facts.append((title, f"{value:.5g}" if isinstance(value, float) else without_dates(str(value))))
    return facts


def _steps(suv: dict[str, Any]) -> list[str]:
    """Every step from stored values to SUV; dates are days since the first one of all steps."""
    steps = [str(step) for step in suv.get("path") or ()]
    return without_dates("\n".join(steps)).split("\n") if steps else []


def _alignment(quality: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(measure, value, limit) of the registration; empty where the patient was not registered."""
    if quality.get("method") != "template":
        return []
    limits, rows = quality.get("limits", {}), []
    for key, title in REGISTRATION_COLUMNS.items():
        value = quality.get(key)
        if isinstance(value, list):
            value = sum(float(part) ** 2 for part in value) ** 0.5
        name, words = LIMITS.get(key, ("", ""))
        limit = f"{words} {limits[name]:g}" if name in limits else ""
        digits = 3 if key.endswith(("_after", "_before")) else 0 if key == "starts_tried" else 1
        rows.append((title, format_number(value, digits), limit))
    if quality.get("note"):
        rows.append(("Note", str(quality["note"]), ""))
    return rows
