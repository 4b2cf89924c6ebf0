"""What a prediction was computed from (clinical values, series, SUV, contour, software), for whoever audits it."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.deploy.bundle_files import digest_of
from pipeline.deploy.covariate_shift import StageFolders
from pipeline.deploy.manifest import LIBRARIES, Manifest
from pipeline.deploy.preprocess import NewPatient
from pipeline.errors import DicomError
from pipeline.provenance import versions

DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
SUV_FACTS = (
    "normalisation", "unit", "factor", "factors_by_slice", "units", "decay_correction", "path", "assumptions",
    "flags", "uptake_minutes", "radionuclide", "weight_kg", "dose_mbq", "suvmax",
)  # fmt: skip
"""Entries of `suv.json` that a reader recomputes the SUV from."""
MASK_FILE = "mask_file"
"""Source of an ROI that was read from a mask file."""
ROI_FACTS = ("name", "source", "matched_by", "voxels", "volume_mask_ml")
"""Entries of an ROI in `contours.json` that say which one was used."""


def inputs_of(manifest: Manifest, patient: NewPatient, folders: StageFolders) -> dict[str, Any]:
    """Everything that was entered, chosen and assumed for a patient, as plain values.

    No UID, no description, no file name and no date of the patient is among it: a series is known by
    its role, its number and its instances; dates that `convert.keep_dates` kept are left out.

    Args:
        manifest: The bundle's manifest.
        patient: What was given of the patient.
        folders: What the stages wrote.

    Returns:
        `clinical`, `series`, `suv`, `contour`, `box`, `scan_dates` and `software`; `scan_dates` is empty
        unless the patient's `scan_date` asks for it.
    """
    return {
        "clinical": clinical_inputs(manifest, patient.clinical),
        "series": series_inputs(manifest, patient, folders),
        "suv": suv_inputs(manifest, folders),
        "contour": contour_inputs(patient, folders),
        "box": patient.box or None,
        "scan_dates": scan_dates(manifest, patient, folders) if patient.scan_date else {},
        "software": {
            "version": __version__,
            "code": digest_of(manifest.members),
            "python": platform.python_version(),
            "libraries": versions(*LIBRARIES),
        },
    }


def clinical_inputs(manifest: Manifest, given: Mapping[str, str]) -> list[dict[str, Any]]:
    """A row per clinical column: the value as it was entered, None where it was declared unknown."""
    numbers = manifest.number_columns()
    return [
        {
            "name": name,
            "given": given[name] or None,
            "type": "number" if name in numbers else "text",
            "used": given[name] or ("training median" if name in numbers else "most frequent level"),
        }
        for name in manifest.clinical
    ]


def series_inputs(manifest: Manifest, patient: NewPatient, folders: StageFolders) -> list[dict[str, Any]]:
    """A row per series that was chosen: role, modality, number, instances, shape, spacing and reason.

    The number is (0020,0011) Series Number, None where the file does not have one; images that came
    as NIfTI have neither number nor instances.
    """
    if manifest.source == "nifti":
        headers = {role: folders.convert / f"{role}.json" for role in ("ct", "pet")}
        return [_converted(path, role) for role, path in headers.items() if path.is_file()]
    from pipeline.dicom.series.index_file import files_of, read_index

    index = read_index(folders.convert.parents[1] / "index" / patient.patient_id)
    return [
        {
            "role": row.role,
            "modality": row.modality,
            "number": _series_number(files_of(index, row)[0]),
            "instances": row.instances,
            "shape": list(row.geometry.shape),
            "spacing_mm": list(row.geometry.spacing_mm),
            "reason": row.reason,
        }
        for row in index.series
        if row.chosen and (row.role in ("ct", "pet") or folders.contours is not None)
    ]


def _converted(path: Path, role: str) -> dict[str, Any]:
    geometry = _read(path).get("geometry", {})
    shape, spacing = geometry.get("shape", []), geometry.get("spacing_mm", [])
    facts = {"number": None, "instances": None, "shape": shape, "spacing_mm": spacing}
    return {"role": role, "modality": "CT" if role == "ct" else "PT", **facts, "reason": "given as NIfTI"}


def _series_number(path: Path) -> int | None:
    """(0020,0011) Series Number of a file; None where there is none, or no number."""
    from pydicom import dcmread

    try:
        value = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesNumber"], force=True)
        return int(value["SeriesNumber"].value)
    except OSError as error:
        raise DicomError(
            "a file of the chosen series cannot be read again",
            where="(0020,0011) Series Number",
            got=type(error).__name__,
            action="leave the patient's files where they are until the prediction is written",
        ) from None
    except (KeyError, TypeError, ValueError):
        return None


def scan_dates(manifest: Manifest, patient: NewPatient, folders: StageFolders) -> dict[str, str]:
    """Role of each chosen image → (0008,0022) Acquisition Date, else (0008,0021) Series Date, as YYYY-MM-DD.

    Raises:
        DicomError: The images have no date that could be shown.
    """
    if manifest.source == "nifti":
        raise DicomError(
            "the scan's date was asked for, and NIfTI images do not have one",
            where="--scan-date",
            action="leave out --scan-date",
        )
    from pydicom import dcmread

    from pipeline.dicom.series.index_file import files_of, read_index

    index, dates = read_index(folders.convert.parents[1] / "index" / patient.patient_id), dict[str, str]()
    for row in index.series:
        if row.chosen and row.role in ("ct", "pet"):
            names = ["AcquisitionDate", "SeriesDate"]
            header = dcmread(
                files_of(index, row)[0], stop_before_pixels=True, specific_tags=names, force=True
            )
            written = [str(header.get(name) or "") for name in names]
            day = next((text for text in written if re.fullmatch(r"\d{8}", text)), "")
            dates[row.role] = f"{day[:4]}-{day[4:6]}-{day[6:]}" if day else "not written"
    return dates


def suv_inputs(manifest: Manifest, folders: StageFolders) -> dict[str, Any]:
    """How stored values became SUV: factor, steps, assumptions and flags, from `suv.json`."""
    suv = _read(folders.suv / "suv.json")
    facts = {name: suv.get(name) for name in SUV_FACTS}
    if manifest.stages.convert.keep_dates:
        for name in ("path", "assumptions", "flags"):
            facts[name] = [DATE.sub("(date)", str(text)) for text in facts[name] or []]
    return facts


def contour_inputs(patient: NewPatient, folders: StageFolders) -> dict[str, Any]:
    """What was asked for, and the ROIs that the contour was made of, by the image they lie on."""
    from pipeline.dicom.contours.mask_files import is_mask_path

    # A path, and the name of a mask that was read from one, may name the patient.
    entries = [entry.strip() for entry in patient.roi.split(";")]
    asked = "; ".join("mask file" if is_mask_path(entry) else entry for entry in entries)
    content = {} if folders.contours is None else _read(folders.contours / "contours.json")
    rois = [
        {"image": image, **{name: roi.get(name) for name in ROI_FACTS}, **_unnamed(roi)}
        for image, mask in content.get("masks", {}).items()
        for roi in mask["rois"]
    ]
    volumes = {image: mask["volume_mask_ml"] for image, mask in content.get("masks", {}).items()}
    return {"asked": asked, "rois": rois, "volume_ml": volumes}


def _unnamed(roi: Mapping[str, Any]) -> dict[str, str]:
    """The name of an ROI that is a file's; nothing of one that was read from RTSTRUCT, SEG or the PET."""
    return {"name": "mask file"} if roi.get("source") == MASK_FILE else {}


def _read(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return content
