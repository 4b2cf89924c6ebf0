"""The command `suvival validate`: a bundle judged on patients of another source, with the report of a study."""

from __future__ import annotations

import argparse
import logging
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pipeline.console import progress
from pipeline.crops.placement import BOX_COLUMNS, read_boxes
from pipeline.deploy.bundle_files import Bundle, read_bundle
from pipeline.deploy.command import require_new
from pipeline.deploy.crop_box import BELOW_BRAIN, require_box
from pipeline.deploy.flags import clinical_flags
from pipeline.deploy.manifest import MODEL_CARD, BundleError, Manifest
from pipeline.deploy.networks import ComputeOptions
from pipeline.deploy.outputs import PageOptions, write_prediction
from pipeline.deploy.predict import predict_patient
from pipeline.deploy.preprocess import NewPatient
from pipeline.deploy.validation_results import (
    JudgedPatient,
    PredictedPatient,
    predicted_patient,
    prediction_rows,
    refused_at,
    write_and_evaluate,
    write_predicted_mask,
    write_statuses,
)
from pipeline.deploy.validation_settings import ValidationTable, cohort_settings, validation_settings
from pipeline.errors import PatientError
from pipeline.provenance import code_digest
from pipeline.report.job import AppliedBundle, ReportJob
from pipeline.report.report import build_report
from pipeline.tables.cohort import Cohort, read_cohort
from pipeline.tables.cohort_rows import levels_of
from pipeline.tables.outcome_join import named_columns
from pipeline.tables.outcomes import outcome_table
from pipeline.tables.status import PatientStatus, Status
from pipeline.tables.whole import whole_folder

log = logging.getLogger(__name__)
REPORT, PREDICTIONS = "report", "predictions"
"""Folders of a validation beside `metrics/`, `predictions.csv` and `problems.csv`."""

NOT_PREDICTED = "not predicted"
"""What follows for a patient whose data cannot be trusted."""


@dataclass(frozen=True)
class ValidationJob:
    """A bundle and the patients it is judged on.

    Attributes:
        bundle: The bundle, verified.
        expected: Whether it was compared with an identity that was asked for.
        table: The cohort table.
        roi: Contour of patients whose row names none: `study`, or empty for none.
        boxes: Table of the boxes, `brain_anchored`, or empty.
        viewer: As `report.viewer` of a study.
        compute: Device and threads of the networks.
    """

    bundle: Bundle
    expected: bool
    table: ValidationTable
    roi: str = ""
    boxes: str = ""
    viewer: Literal["off", "crop", "full"] = "crop"
    compute: ComputeOptions = field(default_factory=ComputeOptions)


def validate(given: argparse.Namespace) -> int:
    """Predict every patient of a cohort table with a bundle and write the report; returns the exit code.

    Raises:
        PipelineError: The bundle, the table or what was given beside them cannot be used.
    """
    bundle = read_bundle(given.bundle, given.expect)
    require_new(given.out)
    table = ValidationTable(
        given.cohort, given.image_root, named_columns(given.take), given.time_unit, given.endpoint
    )
    compute = ComputeOptions(given.device, given.threads)
    job = ValidationJob(bundle, bool(given.expect), table, given.roi, given.boxes, given.viewer, compute)
    # The end of a job must not leave the patients' images behind: SystemExit removes the temporary folder.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory(prefix="suvival-") as temporary:
        work = given.keep_work or Path(temporary)
        require_new(work)
        predicted, listed = validate_bundle(job, work, given.out)
    print(f"predicted and judged: {predicted} of {listed} patients; {given.out / REPORT / 'index.html'}")
    return 0


def validate_bundle(job: ValidationJob, work: Path, out: Path) -> tuple[int, int]:
    """Predict, evaluate and report; nothing is fitted.

    Args:
        job: Bundle and patients.
        work: Empty folder for what the stages write (images, UIDs), laid out as a study's results.
        out: Folder that receives `report/`, `predictions/{patient}/`, `metrics/`, `predictions.csv` and
            `problems.csv`, once all of it is whole.

    Returns:
        Numbers of patients who were judged, and who were listed.

    Raises:
        PipelineError: The table is not one that the bundle can be judged on; all of that is found before
            the first patient is predicted.
        BundleError: No patient could be predicted.
    """
    manifest, cohort = job.bundle.manifest, _require_judgeable(job)
    given, by_table = _new_patients(job, cohort), "" if job.boxes == BELOW_BRAIN else job.boxes
    read_by = cohort_settings(manifest, job.table)
    settings = validation_settings(manifest, read_by, job.viewer, by_table)
    ids = (*cohort.ids(), *cohort.problems)
    with whole_folder(out) as folder:
        statuses = [
            PatientStatus(patient_id, Status("excluded", "cohort", problem, NOT_PREDICTED))
            for patient_id, problem in cohort.problems.items()
        ]
        predicted = _predict(job, given, work, folder / PREDICTIONS, statuses)
        left_out = write_statuses(work, statuses, predicted)
        judged = _judged(cohort, predicted, left_out)
        for patient_id in set(predicted) & set(left_out):
            shutil.rmtree(folder / PREDICTIONS / patient_id)
        write_and_evaluate(manifest, judged, settings.evaluation, settings.study.seed, work)
        code, applied = code_digest("pipeline.deploy.validation"), _applied(job, judged)
        build_report(ReportJob(work, settings, code, ids, applied=applied), folder / REPORT)
        prediction_rows(manifest, judged).to_csv(folder / "predictions.csv", index=False)
        shutil.copyfile(work / "problems.csv", folder / "problems.csv")
        shutil.copytree(work / "metrics", folder / "metrics")
    return len(judged), len(ids)


def _predict(
    job: ValidationJob, given: Sequence[NewPatient], work: Path, out: Path, statuses: list[PatientStatus]
) -> dict[str, PredictedPatient]:
    """Predict the patients; who is refused is added to the statuses."""
    manifest, predicted = job.bundle.manifest, dict[str, PredictedPatient]()
    for patient in progress(given, title="predict"):
        try:
            prediction = predict_patient(job.bundle, patient, work, job.compute)
        except PatientError as error:
            status = Status("excluded", refused_at(work, patient.patient_id), str(error), NOT_PREDICTED)
            statuses.append(PatientStatus(patient.patient_id, status))
            continue
        shown = PageOptions(expected=job.expected)
        write_prediction(job.bundle, prediction, out / patient.patient_id, shown)
        write_predicted_mask(manifest, prediction, work)
        predicted[patient.patient_id] = predicted_patient(manifest, prediction)
    return predicted


def _judged(
    cohort: Cohort, predicted: Mapping[str, PredictedPatient], left_out: Mapping[str, str]
) -> list[JudgedPatient]:
    """Patients who are judged, sorted by id.

    Raises:
        BundleError: There are none.
    """
    rows = sorted(cohort.patients, key=lambda patient: patient.patient_id)
    judged = [
        JudgedPatient(row, predicted[row.patient_id])
        for row in rows
        if row.patient_id in predicted and row.patient_id not in left_out
    ]
    if judged:
        return judged
    first = next(iter(left_out))
    raise BundleError(
        "no patient could be predicted",
        where="--cohort",
        got=f"{len(left_out)} patients left out, the first {first}: {left_out[first]}",
        action="correct the data or the table",
    )


def _require_judgeable(job: ValidationJob) -> Cohort:
    """The cohort table, once it is one that the bundle can be judged on."""
    manifest, where = job.bundle.manifest, str(job.table.path)
    if not manifest.survival_members() or manifest.cohort.events is None:
        raise BundleError(
            "a bundle is judged by survival, which no member of this one predicts",
            where="--bundle",
            action="predict the patients with suvival predict, and compare classes and masks yourself",
        )
    cohort = read_cohort(cohort_settings(manifest, job.table), "exclude")
    if not cohort.has_outcomes:
        raise BundleError(
            "the cohort table has no outcomes to judge the bundle by",
            where=where,
            expected="the columns time_days and event, or --endpoint and its columns",
            action="add them; without outcomes suvival predict predicts each patient",
        )
    if development := cohort.ids("development"):
        raise BundleError(
            "the cohort table names development patients, whom a bundle may have learned from",
            where=f"{where}, column set",
            expected="external in every row, or no such column",
            got=f"development: {', '.join(development[:5])}",
            action="leave these rows out",
        )
    if lacking := [name for name in manifest.clinical if name not in cohort.patients[0].extra]:
        raise BundleError(
            "the cohort table lacks clinical columns that the bundle needs",
            where=where,
            expected=", ".join(manifest.clinical),
            got=f"none called {', '.join(lacking)}",
            action="add them, or name the table's own: --take NAME=COLUMN; a blank entry is an unknown value",
        )
    return cohort


def _new_patients(job: ValidationJob, cohort: Cohort) -> list[NewPatient]:
    """What the bundle is given of each patient, in the table's order."""
    manifest, boxes = job.bundle.manifest, _boxes(job)
    clinical = _clinical(manifest, cohort)
    patients = [
        NewPatient(
            patient.patient_id,
            Path(job.table.image_root, patient.image_path),
            patient.roi or job.roi,
            clinical[patient.patient_id],
            boxes.get(patient.patient_id, job.boxes if job.boxes == BELOW_BRAIN else ""),
        )
        for patient in cohort.patients
    ]
    for patient in patients:
        clinical_flags(manifest, patient.clinical)
        require_box(manifest, patient.box)
    return patients


def _clinical(manifest: Manifest, cohort: Cohort) -> dict[str, dict[str, str]]:
    """Patient → text by clinical column, blank where it is unknown; words for missing as in a study's table."""
    table, numbers = outcome_table(cohort.patients), manifest.number_columns()
    texts: dict[str, list[str]] = {}
    for name in manifest.clinical:
        if name in numbers and table[name].dtype.kind == "f":
            texts[name] = ["" if value != value else repr(float(value)) for value in table[name]]
        else:
            texts[name] = levels_of(patient.extra[name] for patient in cohort.patients)
    return {
        patient.patient_id: {name: texts[name][row] for name in manifest.clinical}
        for row, patient in enumerate(cohort.patients)
    }


def _boxes(job: ValidationJob) -> dict[str, str]:
    """Patient → corners of the box as text; empty where no table of boxes is given."""
    if job.boxes in ("", BELOW_BRAIN):
        return {}
    return {
        row["patient_id"]: ",".join(row[c] for c in BOX_COLUMNS[1:]) for row in read_boxes(Path(job.boxes))
    }


def _applied(job: ValidationJob, judged: Sequence[JudgedPatient]) -> AppliedBundle:
    """The bundle as the page speaks of it."""
    manifest = job.bundle.manifest
    assert manifest.cohort.events is not None  # refused before
    unlike, drawn = (
        sum(any(flag.about == about for flag in patient.said.warnings) for patient in judged)
        for about in ("out of domain", "contour")
    )
    doubts = []
    if unlike:
        doubts.append(
            f"{unlike} of {len(judged)} patients are unlike those the bundle learned from (see Cohort)."
        )
    if drawn:
        doubts.append(
            f"Of {drawn} patients features were taken from the predicted contour; the bundle learned them from "
            "contours drawn by hand."
        )
    doubts.append(
        "A bundle names nobody: whether patients of this table were among those it learned from is for you to know."
    )
    return AppliedBundle(
        identity=job.bundle.identity,
        expected=job.expected,
        card=job.bundle.path(MODEL_CARD).read_text(encoding="utf-8"),
        study=manifest.study.name,
        software=manifest.software.version,
        patients=manifest.cohort.patients,
        events=manifest.cohort.events,
        folds=manifest.folds(),
        doubts=tuple(doubts),
    )
