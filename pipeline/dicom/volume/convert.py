"""Chosen series to volumes, with the header values that later stages need."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from pipeline.dicom.header.pet_header import SliceHeader, add_missing_values, merge_headers, slice_header
from pipeline.dicom.header.values import number_of, text_of
from pipeline.dicom.series.index_file import Index, files_of, find_chosen, read_index
from pipeline.dicom.volume.completeness import Announced
from pipeline.dicom.volume.read import read_series
from pipeline.errors import DicomError
from pipeline.settings.base import Policy
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.status import Warnings, patient_stage, propagate_exclusion
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume

CT_FILE, PET_FILE = "ct_hu.nii.gz", "pet_stored.nii.gz"
CT_HEADER, PET_HEADER = "ct.json", "pet.json"


def convert_patient(index: Path, out: Path, settings: ConvertSettings, policy: Policy) -> None:
    """Write the chosen CT and PET as volumes with their headers.

    `ct_hu.nii.gz` is in HU (int16 where the rescale keeps whole numbers), `pet_stored.nii.gz`
    float32 in the file's own units with each slice's rescale applied. `ct.json` and
    `pet.json` hold geometry and header values, no identifiers and no UIDs. `pet_to_ct` in
    `pet.json` says how the two lie on each other (`same_frame`, `accepted`, `register`,
    `alone`), as :data:`pipeline.dicom.series.index_file.PetToCt` has it.

    Args:
        index: The patient's index folder.
        out: Folder of this patient's volumes.
        settings: Tolerance of slice gaps, compression.
        policy: What a patient whose series makes no volume does.

    Raises:
        DicomError: (policy `stop`) slices missing, uneven, sheared, repeated, of mixed
            sizes, or undecodable.
    """
    if propagate_exclusion(index, out):
        return
    found = read_index(index)
    with patient_stage("convert", found.patient_id, out, policy) as warnings:
        if find_chosen(found, "ct") is not None:
            _convert_ct(found, out, settings, warnings)
        if find_chosen(found, "pet") is not None:
            _convert_pet(found, out, settings, warnings)


def _convert_ct(index: Index, out: Path, settings: ConvertSettings, warnings: Warnings) -> None:
    scanners: list[dict[str, Any]] = []
    announced = Announced()

    def header(dataset: Dataset) -> None:
        announced.read(dataset)
        scanners.append(_ct_header(dataset))

    volume, order, notes = read_series(_files(index, "ct"), "ct_hu", settings, header)
    for note in (*notes, *announced.check(len(order), "CT series", settings)):
        warnings.tell(note)
    write_nifti(out / CT_FILE, volume, settings.compression_level)
    _write_json(out / CT_HEADER, {**_described(volume), "header": scanners[0]})


def _convert_pet(index: Index, out: Path, settings: ConvertSettings, warnings: Warnings) -> None:
    headers: list[SliceHeader] = []
    announced = Announced()

    def header(dataset: Dataset) -> None:
        announced.read(dataset)
        headers.append(slice_header(dataset))

    try:
        volume, order, notes = read_series(_files(index, "pet"), "pet_stored", settings, header)
        told = (*notes, *announced.check(len(order), "PET series", settings))
    except DicomError as error:
        # One refusal that names all that is wrong spares a second export from the archive.
        add_missing_values(error, headers[0].series if headers else None)
        raise
    for note in told:
        warnings.tell(note)
    merged = merge_headers(headers).reordered(order)
    write_nifti(out / PET_FILE, volume, settings.compression_level)
    content = {**_described(volume), "pet_to_ct": index.pet_to_ct, "header": merged.as_json()}
    _write_json(out / PET_HEADER, content)


def _files(index: Index, role: Any) -> tuple[Path, ...]:
    row = find_chosen(index, role)
    assert row is not None
    files = files_of(index, row)
    missing = sum(not path.is_file() for path in files)
    if missing:
        raise DicomError(
            "files of the chosen series are gone since the index was made",
            where=f"{role} series",
            got=f"{missing} of {len(files)} files",
            action="bring them back, or run the rule index again",
        )
    return files


def _ct_header(dataset: Dataset) -> dict[str, Any]:
    return {
        "manufacturer": text_of(dataset, "Manufacturer"),
        "model": text_of(dataset, "ManufacturerModelName"),
        "kvp": number_of(dataset, "KVP"),
        "kernel": text_of(dataset, "ConvolutionKernel"),
        "slice_thickness_mm": number_of(dataset, "SliceThickness"),
        "contrast_agent": text_of(dataset, "ContrastBolusAgent"),
        "patient_position": text_of(dataset, "PatientPosition"),
    }


def _described(volume: Volume) -> dict[str, Any]:
    return {
        "quantity": volume.quantity,
        "dtype": str(volume.array.dtype),
        "geometry": geometry_json(volume.grid),
        "minimum": float(volume.array.min()),
        "maximum": float(volume.array.max()),
    }


def geometry_json(grid: Grid) -> dict[str, Any]:
    """A grid as plain values: shape and spacing (z, y, x), origin (x, y, z), direction columns."""
    return asdict(grid)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
