"""Chosen series as volumes, with the header values that later stages need."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from pipeline.dicom.header.free_text import shown_header, shown_text
from pipeline.dicom.header.pet_header import add_missing_values
from pipeline.dicom.header.pet_header_reading import (
    SliceHeader,
    dose_unit_warning,
    lossy_warning,
    merge_headers,
    slice_header,
)
from pipeline.dicom.header.undated import undated
from pipeline.dicom.header.values import integer_of, number_of, text_of
from pipeline.dicom.series.ct_details import UNSPECIFIED
from pipeline.dicom.series.index_file import Index, files_of, find_chosen, read_index
from pipeline.dicom.series.instance import rescale_types
from pipeline.dicom.volume.hounsfield import hounsfield_warnings, require_hounsfield
from pipeline.dicom.volume.read import SeriesVolume, read_series
from pipeline.dicom.volume.stacks_seen import stack_warnings
from pipeline.errors import DicomError, MachineError
from pipeline.settings.base import FreeText, Policy
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.status import Warnings, patient_stage, propagate_exclusion
from pipeline.volumes.grids import require_overlap
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.stage_files import CT_IMAGED, PET_IMAGED
from pipeline.volumes.volume import Grid

CT_FILE, PET_FILE = "ct_hu.nii.gz", "pet_stored.nii.gz"
CT_HEADER, PET_HEADER = "ct.json", "pet.json"
# Elements that count the slices of one series, and those that may count other series', too.
_SLICE_COUNT = {"NumberOfSlices": "(0054,0081) Number of Slices"}
_IMAGE_COUNTS = {
    "NumberOfSeriesRelatedInstances": "(0020,1209) Number of Series Related Instances",
    "ImagesInAcquisition": "(0020,1002) Images in Acquisition",
}


def convert_patient(index: Path, out: Path, settings: ConvertSettings, policy: Policy) -> None:
    """Write the chosen CT and PET as volumes with their headers.

    `ct_hu.nii.gz` is in HU (int16 where the rescaled values are integers), `pet_stored.nii.gz`
    float32 in the file's own units with each slice's rescale applied. Where a series has padding,
    `ct_imaged.nii.gz` or `pet_imaged.nii.gz` (1 = imaged) says where there is image. `ct.json` and
    `pet.json` hold geometry and header values, no identifiers, no UIDs and, unless the settings keep
    them, no dates and times of day: these are moved so that the scan is at noon and the earliest date is
    1 January 2000. `pet_to_ct` in
    `pet.json` says how the two are aligned (`same_frame`, `accepted`, `register`,
    `alone`), as :data:`pipeline.dicom.series.index_file.PetToCt` has it.

    Args:
        index: The patient's index folder.
        out: Folder of this patient's volumes.
        settings: Tolerance of slice gaps, compression.
        policy: What happens to a patient whose series make no volume.

    Raises:
        DicomError: (policy `stop`) slices missing, uneven, sheared, repeated, of mixed
            sizes, or undecodable.
        GeometryError: (policy `stop`) CT and PET do not overlap.
    """
    if propagate_exclusion(index, out):
        return
    series_index = read_index(index)
    with patient_stage("convert", series_index.patient_id, out, policy) as work:
        grids: list[Grid] = []
        if find_chosen(series_index, "ct") is not None:
            grids.append(_convert_ct(series_index, work.folder, settings, work.warnings))
        if find_chosen(series_index, "pet") is not None:
            grids.append(_convert_pet(series_index, work.folder, settings, work.warnings))
        if len(grids) == 2 and series_index.pet_to_ct != "register":
            ct, pet = grids
            require_overlap(ct, pet, "send the CT and the PET of one examination as the scanner wrote them")


@dataclass
class AnnouncedSlices:
    """Numbers of slices that a series announces: losses at its ends leave no gap between slices.

    Attributes:
        counts: The greatest count that the files give, by element.
        files: Number of files read.
    """

    counts: dict[str, int] = field(default_factory=dict)
    files: int = 0

    def read(self, dataset: Dataset) -> None:
        """Take note of the counts of one file."""
        self.files += 1
        for keyword, name in (_SLICE_COUNT | _IMAGE_COUNTS).items():
            count = integer_of(dataset, keyword)
            if count is not None:
                self.counts[name] = max(count, self.counts.get(name, 0))

    def check(self, slices: int, where: str, settings: ConvertSettings) -> list[str]:
        """Warnings of a series that announces more slices than it has.

        Raises:
            DicomError: (0054,0081) says that slices are missing, and the settings refuse it.
        """
        short = [name for name in _SLICE_COUNT.values() if self.counts.get(name, 0) > slices]
        if short and settings.incomplete == "refuse":
            raise DicomError(
                f"{self.counts[short[0]] - slices} slices are missing at the ends of the series",
                where=f"{where}, {short[0]}",
                expected=f"{self.counts[short[0]]} slices",
                got=str(slices),
                action="send the whole series, or set convert.incomplete: warn if it was cut on purpose",
            )
        if self.files == slices:  # an enhanced file holds many slices, and is one instance
            short += [name for name in _IMAGE_COUNTS.values() if self.counts.get(name, 0) > slices]
        return [
            f"{where}: {name} says {self.counts[name]}, {slices} arrived; the series may be cut at its ends"
            for name in short
        ]


def _convert_ct(index: Index, out: Path, settings: ConvertSettings, warnings: Warnings) -> Grid:
    scanners: list[dict[str, Any]] = []
    announced = AnnouncedSlices()
    units: set[str] = set()

    def header(dataset: Dataset) -> None:
        announced.read(dataset)
        units.update(rescale_types(dataset))
        scanners.append(_ct_header(dataset, settings.free_text))

    series = read_series(_files(index, "ct"), "ct_hu", settings, header)
    require_hounsfield(series.volume, series.imaged, UNSPECIFIED in units)
    notes = (
        *series.notes,
        *hounsfield_warnings(series.volume, series.imaged),
        *announced.check(len(series.order), "CT series", settings),
        *stack_warnings(series.volume.array, "CT series", settings),
    )
    for note in notes:
        warnings.warn(note)
    write_nifti(out / CT_FILE, series.volume, settings.compression_level)
    _write_imaged(out / CT_IMAGED, series, settings)
    _write_json(out / CT_HEADER, {**_described(series), "header": scanners[0]})
    return series.volume.grid


def _convert_pet(index: Index, out: Path, settings: ConvertSettings, warnings: Warnings) -> Grid:
    headers: list[SliceHeader] = []
    doubts: set[str] = set()
    announced = AnnouncedSlices()

    def header(dataset: Dataset) -> None:
        announced.read(dataset)
        headers.append(slice_header(dataset))
        doubts.update((dose_unit_warning(dataset), lossy_warning(dataset)))

    try:
        series = read_series(_files(index, "pet"), "pet_stored", settings, header)
        notes = (
            *series.notes,
            *announced.check(len(series.order), "PET series", settings),
            *stack_warnings(series.volume.array, "PET series", settings),
        )
    except DicomError as error:
        # A refusal that names all that is wrong spares a second export from the archive.
        add_missing_values(error, headers[0].series if headers else None)
        raise
    for note in (*notes, *sorted(doubts - {""})):
        warnings.warn(note)
    merged = merge_headers(headers).reordered(series.order)
    merged = shown_header(merged, settings.free_text)
    if not settings.keep_dates:
        merged = undated(merged)
    write_nifti(out / PET_FILE, series.volume, settings.compression_level)
    _write_imaged(out / PET_IMAGED, series, settings)
    content = {**_described(series), "pet_to_ct": index.pet_to_ct, "header": merged.as_json()}
    _write_json(out / PET_HEADER, content)
    return series.volume.grid


def _write_imaged(path: Path, series: SeriesVolume, settings: ConvertSettings) -> None:
    """Where a series has padding: the mask of what was imaged."""
    if series.imaged is not None:
        write_nifti(path, series.imaged, settings.compression_level)


def _files(index: Index, role: Any) -> tuple[Path, ...]:
    row = find_chosen(index, role)
    assert row is not None
    files = files_of(index, row)
    missing = sum(not path.is_file() for path in files)
    if missing:
        # No exclusion: the patient had them when the series was chosen.
        raise MachineError(
            "files of the chosen series are gone since the index was made",
            where=f"{role} series",
            expected=f"{len(files)} files",
            got=f"{len(files) - missing}",
            action="bring them back (is the archive mounted?), or run again: the patient's index is then made anew",
        )
    return files


def _ct_header(dataset: Dataset, free_text: FreeText) -> dict[str, Any]:
    def shown(keyword: str) -> str:
        return shown_text(text_of(dataset, keyword), free_text)

    return {
        "manufacturer": shown("Manufacturer"),
        "model": shown("ManufacturerModelName"),
        "kvp": number_of(dataset, "KVP"),
        "kernel": shown("ConvolutionKernel"),
        "slice_thickness_mm": number_of(dataset, "SliceThickness"),
        "contrast_agent": shown("ContrastBolusAgent"),
        "weight_kg": number_of(dataset, "PatientWeight"),
        "patient_position": shown("PatientPosition"),
    }


def _described(series: SeriesVolume) -> dict[str, Any]:
    volume = series.volume
    return {
        "quantity": volume.quantity,
        "dtype": str(volume.array.dtype),
        "geometry": geometry_json(volume.grid),
        "minimum": float(volume.array.min()),
        "maximum": float(volume.array.max()),
        "padding_voxels": 0 if series.imaged is None else int((series.imaged.array == 0).sum()),
    }


def geometry_json(grid: Grid) -> dict[str, Any]:
    """A grid as plain values: shape and spacing (z, y, x), origin (x, y, z), direction columns."""
    return asdict(grid)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
