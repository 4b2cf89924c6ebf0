"""RT Structure Sets: which ROIs they hold, what they were drawn on, and the contours' points."""

from __future__ import annotations

import contextlib
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.dicom.header.contour_limits import ContourLimits
from pipeline.dicom.header.contour_points import corners_of, points_of
from pipeline.dicom.header.free_text import shown_name
from pipeline.dicom.header.values import instance_of_plane, planes_named, quiet_reading, text_of
from pipeline.errors import ContourError, PipelineError
from pipeline.settings.base import FreeText
from pipeline.tables.failures import raise_machine_failure
from pipeline.volumes.volume import FloatArray

if TYPE_CHECKING:
    from pydicom import Dataset

XOR = "CLOSEDPLANAR_XOR"
CLOSED = ("CLOSED_PLANAR", XOR)
"""(3006,0042) *Contour Geometric Type*: the types that enclose an area."""


@dataclass(frozen=True)
class Roi:
    """One region of interest.

    Attributes:
        name: (3006,0026) *ROI Name*.
        label: What messages call it.
        number: (3006,0022) *ROI Number*.
        frame_uid: (3006,0024) *Referenced Frame of Reference UID*, or empty.
        contours: Closed contours, each (n ≥ 3, 3) LPS mm.
        skipped: Contours left out because they enclose nothing, repeat another one or are of another image.
        contour_planes: By contour, the instances or frames that it, or one that it repeats, refers to (`planes_named`).
        xor: Some contour's type is CLOSEDPLANAR_XOR: what overlaps cancels.
    """

    name: str
    label: str
    number: int
    frame_uid: str
    contours: tuple[FloatArray, ...]
    skipped: dict[str, int] = field(default_factory=dict)
    contour_planes: tuple[frozenset[str], ...] = ()
    xor: bool = False

    @property
    def contour_sops(self) -> tuple[frozenset[str], ...]:
        """By contour, (0008,1155) of the images that it refers to."""
        return tuple(frozenset(map(instance_of_plane, names)) for names in self.contour_planes)

    @property
    def sops(self) -> frozenset[str]:
        """(0008,1155) of all images that its contours refer to."""
        return frozenset[str]().union(*self.contour_sops)

    def without(self, numbers: Sequence[int], why: str) -> Roi:
        """The ROI without some of its contours, which count as skipped for a reason."""
        kept = [number for number in range(len(self.contours)) if number not in set(numbers)]
        return replace(
            self,
            contours=tuple(self.contours[number] for number in kept),
            contour_planes=tuple(self.contour_planes[number] for number in kept),
            skipped={**self.skipped, why: len(numbers)} if numbers else self.skipped,
        )


@dataclass(frozen=True)
class StructureSet:
    """The content of one RTSTRUCT.

    Attributes:
        label: Name of the file in messages (its own name may hold identifiers).
        names: What messages call all its ROIs, chosen or not.
        rois: The chosen ones.
        series_uids: Series it says it was drawn on.
        frame_uids: Frames of reference it refers to.
        sop_uids: (0008,1155) of the images that it lists, and that its chosen ROIs refer to.
        content_time: (3006,0008) Structure Set Date and (3006,0009) Time as written.
        rejected: (300E,0002) *Approval Status* is REJECTED.
    """

    label: str
    names: tuple[str, ...]
    rois: tuple[Roi, ...]
    series_uids: frozenset[str]
    frame_uids: frozenset[str]
    content_time: str = ""
    rejected: bool = False
    sop_uids: frozenset[str] = frozenset()


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is, or fits, one of the patterns (`*`, `?`, `[…]`), whatever the case."""
    plain = _plain(name)
    wanted = [_plain(pattern) for pattern in patterns]
    return plain in wanted or any(fnmatchcase(plain, pattern) for pattern in wanted)


def _plain(text: str) -> str:
    """A name as it is compared: characters composed, spaces single, without case."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


@contextlib.contextmanager
def reading(what: str, label: str) -> Iterator[None]:
    """Read a contour object without pydicom's warnings; any error in it becomes a ContourError.

    Raises:
        ContourError: pydicom, which decodes lazily, failed in any way.
    """
    with quiet_reading():
        try:
            yield
        except PipelineError:
            raise
        except Exception as error:
            raise_machine_failure(error)
            raise ContourError(
                f"{what} cannot be read",
                where=label,
                got=type(error).__name__,
                action="export it again",
            ) from None


def read_rtstruct(
    path: Path,
    patterns: Sequence[str],
    label: str = "RTSTRUCT",
    limits: ContourLimits | None = None,
    free_text: FreeText = "show",
) -> StructureSet:
    """Read an RTSTRUCT; points only of the ROIs whose name fits a pattern.

    Args:
        path: The DICOM file.
        patterns: Patterns of ROI names, case-insensitive.
        label: Name of the file in messages; names of DICOM files often hold identifiers.
        limits: How large it may be.
        free_text: How messages call its ROIs.

    Raises:
        ContourError: The file is not a complete RTSTRUCT, a contour's points are damaged, or there
            are more than the limits allow.
    """
    limits = limits or ContourLimits()
    limits.require_file(path, label)
    with reading("an RTSTRUCT", label):
        dataset = _read(path, label)
        listed = list(dataset.get("StructureSetROISequence") or ())
        contours: dict[int, list[Any]] = {}
        for item in dataset.get("ROIContourSequence") or ():
            contours.setdefault(int(item.get("ReferencedROINumber", -1)), []).append(item)
        fitting = [item for item in listed if matches(str(item.get("ROIName", "")), patterns)]
        numbers = [int(item.get("ROINumber", -2)) for item in listed]
        called = [_called(item, free_text) for item in fitting]
        for item, name in zip(fitting, called, strict=True):
            _require_unique_number(item, numbers, contours, f"{label}, ROI {name!r}")
        rois = []
        for item, name in zip(fitting, called, strict=True):
            drawn = contours.get(int(item.get("ROINumber", -2)), [])
            where = f"{label}, ROI {name!r}"
            limits.require_count(len((drawn[0].get("ContourSequence") if drawn else None) or ()), where)
            rois.append(_roi(item, drawn, name, where))
            limits.require_points(rois[-1].contours, where)
        series, frames, sops = _references(dataset)
        frames |= {str(item.get("ReferencedFrameOfReferenceUID", "")) for item in listed}
        return StructureSet(
            label,
            tuple(_called(item, free_text) for item in listed),
            tuple(rois),
            frozenset(series - {""}),
            frozenset(frames - {""}),
            content_time_of(dataset, "StructureSetDate", "StructureSetTime"),
            text_of(dataset, "ApprovalStatus").strip().upper() == "REJECTED",
            frozenset(sops - {""}).union(*(roi.sops for roi in rois)),
        )


def _called(item: Dataset, free_text: FreeText) -> str:
    """What messages call an ROI."""
    return shown_name(
        str(item.get("ROIName", "")).strip(), free_text, f"no. {int(item.get('ROINumber', -2))}"
    )


def read_roi_names(path: Path) -> set[str]:
    """Names of all ROIs of an RTSTRUCT; none where the file is broken, or is an archive."""
    from pydicom import dcmread

    with quiet_reading():
        try:
            dataset = dcmread(path, specific_tags=["StructureSetROISequence"])
            items = dataset.get("StructureSetROISequence") or ()
            return {str(item.get("ROIName", "")).strip() for item in items}
        except Exception as error:  # the names help to choose a pattern: broken files are passed over
            raise_machine_failure(error)
            return set()


def content_time_of(dataset: Dataset, date: str, time: str) -> str:
    """Date and time of an object's content as written; empty without a date."""
    day = text_of(dataset, date)
    return day + text_of(dataset, time) if day else ""


def _read(path: Path, label: str) -> Dataset:
    from pydicom import dcmread

    dataset = dcmread(path, force=True)  # files without preamble are DICOM, too
    if dataset.get("Modality") != "RTSTRUCT":
        raise ContourError(
            "a file is not an RTSTRUCT",
            where=f"{label}, (0008,0060) Modality",
            expected="RTSTRUCT",
            got=str(dataset.get("Modality")),
        )
    return dataset


def _references(dataset: Dataset) -> tuple[set[str], set[str], set[str]]:
    """Series, frames and instances of (3006,0010) *Referenced Frame of Reference Sequence*."""
    series: set[str] = set()
    frames: set[str] = set()
    sops: set[str] = set()
    for frame in dataset.get("ReferencedFrameOfReferenceSequence") or ():
        frames.add(str(frame.get("FrameOfReferenceUID", "")))
        for study in frame.get("RTReferencedStudySequence") or ():
            for item in study.get("RTReferencedSeriesSequence") or ():
                series.add(str(item.get("SeriesInstanceUID", "")))
                sops |= {instance_of_plane(name) for name in _planes_of(item)}
    return series, frames, sops


def _planes_of(item: Dataset) -> frozenset[str]:
    """What an item's (3006,0016) *Contour Image Sequence* names."""
    return planes_named(item.get("ContourImageSequence") or ())


def _require_unique_number(
    item: Dataset, numbers: list[int], contours: dict[int, list[Any]], where: str
) -> None:
    """Refuse an ROI whose number is used more than once: its contours cannot be assigned."""
    number = int(item.get("ROINumber", -2))
    rois, contour_sets = numbers.count(number), len(contours.get(number, []))
    if rois > 1 or contour_sets > 1:
        raise ContourError(
            "several ROIs of one number",
            where=f"{where}, (3006,0022), (3006,0084) ROI Number",
            expected="a number for each ROI",
            got=f"{rois} ROIs and {contour_sets} sets of contours of number {number}",
            action="export the RTSTRUCT again",
        )


def _roi(item: Dataset, drawn: Sequence[Dataset], label: str, where: str) -> Roi:
    points: list[FloatArray] = []
    named: dict[bytes, frozenset[str]] = {}
    skipped: Counter[str] = Counter()
    xor = False
    for contour in (drawn[0].get("ContourSequence") if drawn else None) or ():
        kind = str(contour.get("ContourGeometricType", "none"))
        if kind not in CLOSED:
            skipped[kind] += 1
            continue
        xor |= kind == XOR
        polygon = points_of(contour, where)
        if len(polygon) < 3:
            skipped["of fewer than 3 points"] += 1
        elif (corners := corners_of(polygon)) in named:
            skipped["repeated"] += 1  # XOR of a contour with itself would be nothing
            named[corners] |= _planes_of(contour)
        else:
            named[corners] = _planes_of(contour)
            points.append(polygon)
    return Roi(
        str(item.get("ROIName", "")).strip(),
        label,
        int(item.get("ROINumber", -2)),
        str(item.get("ReferencedFrameOfReferenceUID", "") or ""),
        tuple(points),
        dict(skipped),
        tuple(named.values()),
        xor,
    )
