"""The headers of every file in a patient's folder, pixels left unread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from pipeline.dicom.header.explicit import explicit_headers
from pipeline.dicom.header.values import (
    integer_of,
    quiet_reading,
    text_of,
)
from pipeline.dicom.series.archives import (
    BROKEN_ARCHIVE,
    DEFLATED,
    NOT_DICOM,
    Limits,
    Unpacked,
    begins_as_dicom,
    inflates_beyond,
    unpack,
)
from pipeline.dicom.series.duplicates import differing_elements
from pipeline.dicom.series.instance import Instance, instance_of
from pipeline.spread import LOCAL, cluster, spread
from pipeline.tables.failures import machine_error, raise_machine_failure
from pipeline.tables.files import NO_FILE, NO_FOLDER, is_zip, list_files

DIRECTORY_CLASS = "1.2.840.10008.1.3.10"
_NO_UID = "DICOM without (0008,0018) SOP or (0020,000E) Series Instance UID"
_UNREADABLE = "unreadable DICOM"
_TOO_LARGE = "deflated DICOM larger than index.max_deflated_mib"
BROKEN = frozenset({_NO_UID, _UNREADABLE, _TOO_LARGE, BROKEN_ARCHIVE, NO_FOLDER, NO_FILE})
"""Reasons of passing over a file that may have been part of a series."""
_MULTI_FRAME = 0x00280008
_LAST = 0x30060010  # ReferencedFrameOfReferenceSequence; contours and pixels come after it
_LAST_GROUP = 0x52009230  # PerFrameFunctionalGroupsSequence
_TAGS = [int(Tag(name)) for name in (
    "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "StudyInstanceUID",
    "StudyDate", "StudyTime", "SeriesDate", "SeriesTime", "SeriesDescription", "ImageType",
    "PatientID", "SliceThickness", "ConvolutionKernel", "FrameOfReferenceUID", "Rows", "Columns",
    "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "CorrectedImage", "Units", "SeriesType", "BurnedInAnnotation", "ReferencedSeriesSequence",
    "ReferencedFrameOfReferenceSequence", "AttenuationCorrected", "DecayCorrected",
    "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "TriggerTime",
    "DecayCorrection", "AttenuationCorrectionMethod", "NumberOfSlices", "FrameReferenceTime", "InstanceNumber",
    "ActualFrameDuration", "DecayFactor", "KVP", "RescaleType",
)]  # fmt: skip
_TAG_OF = {number: BaseTag(number) for number in _TAGS}
_FRAME_TAGS = [0x52009229, 0x52009230]  # Shared and Per-Frame Functional Groups Sequence
# Above this many files a pool of processes earns its start back.
_PARALLEL_FROM = 2000


@dataclass
class Scan:
    """The headers of a folder.

    Attributes:
        instances: All readable instances, duplicates left out.
        skipped: How many files were passed over, by reason.
        conflicts: By series, elements in which files of one SOP Instance UID differ.
        sent_again: Pairs of CT or PET series that share a file by its SOP Instance UID and its content.
    """

    instances: list[Instance] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    conflicts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sent_again: set[tuple[str, str]] = field(default_factory=set)

    def add(self, instance: Instance, first: Instance | None) -> None:
        """Take an instance; a second file of one (0008,0018) only where the first is its copy."""
        if first is None:
            self.instances.append(instance)
            return
        self.skipped["duplicate of another file by (0008,0018) SOP Instance UID"] += 1
        differing = differing_elements(first.path, instance.path)
        if not differing and first.series_uid != instance.series_uid and instance.modality in ("CT", "PT"):
            self.sent_again.add((first.series_uid, instance.series_uid))
        for uid in {first.series_uid, instance.series_uid} if differing else ():
            self.conflicts[uid] = tuple(dict.fromkeys((*self.conflicts.get(uid, ()), *differing)))

    def as_one_series(self) -> list[Instance]:
        """The instances, those of a CT or PET series that was sent under several UIDs with one of these.

        A SOP Instance UID belongs to one series, so series that share one are exports of the same. What one of
        them lacks another may hold. The UID that contours name is kept, where they name one.
        """
        named = {uid for instance in self.instances for uid in instance.references}
        groups: dict[str, frozenset[str]] = {}
        for pair in self.sent_again:
            whole = frozenset(pair).union(*(groups.get(uid, frozenset()) for uid in pair))
            groups |= dict.fromkeys(whole, whole)
        return [_of_group(i, groups.get(i.series_uid, frozenset()), named) for i in self.instances]


def _of_group(instance: Instance, uids: frozenset[str], named: set[str]) -> Instance:
    if not uids:
        return instance
    first, *others = sorted(uids, key=lambda uid: (uid not in named, uid))
    return replace(instance, series_uid=first, sent_as=tuple(others))


def scan_folder(folder: Path, unpacked: Path, limits: Limits | None = None, workers: int = 1) -> Scan:
    """Read the headers of every DICOM file below a folder.

    File names need no extension. ZIP archives are unpacked first, into numbered files, so that
    no member's name reaches the file system.

    Args:
        folder: Any tree of files, or a single file.
        unpacked: Folder for the members of archives.
        limits: How much may be unpacked.
        workers: Number of processes, used for thousands of files where no cluster is named.

    Raises:
        MachineError: A folder or a file cannot be read for want of rights, or by a broken disk.
        DicomError: Archives unpack to more than is allowed.
    """
    limits = limits or Limits()
    listing = list_files(folder)
    for failure in listing.failures:
        raise machine_error(failure)
    files, scan, members = listing.files, Scan(skipped=listing.skipped), Unpacked()
    for number, archive in enumerate([path for path in files if is_zip(path)]):
        files.remove(archive)
        unpack(archive, unpacked / f"{number:03d}", limits, members)
    files.extend(members.files)
    scan.skipped.update(members.passed)
    parallel = (workers > 1 or cluster() != LOCAL) and len(files) >= _PARALLEL_FROM
    seen: dict[str, Instance] = {}
    for result in _read_parallel(files, limits, workers) if parallel else read_many(files, limits):
        if isinstance(result, str):
            scan.skipped[result] += 1
        else:
            scan.add(result, seen.get(result.sop_instance_uid))
            seen.setdefault(result.sop_instance_uid, result)
    return scan


def _read_parallel(files: list[Path], limits: Limits, workers: int) -> list[Instance | str]:
    size = max(1, min(_PARALLEL_FROM, -(-len(files) // (workers * 4))))
    parts = [files[i : i + size] for i in range(0, len(files), size)]
    read = partial(read_many, limits=limits)
    return [
        result for part in spread(read, parts, title="reading headers", workers=workers) for result in part
    ]


def read_many(files: Iterable[Path], limits: Limits) -> list[Instance | str]:
    """Read the headers of files; a text instead of an instance says why the file is passed over.

    Raises:
        MachineError: A file cannot be read for want of rights, or by a broken disk.
    """
    with quiet_reading():
        return [_read(path, limits) for path in files]


def _read(path: Path, limits: Limits) -> Instance | str:
    try:
        with path.open("rb") as stream:
            start = stream.read(1024)
            if not begins_as_dicom(start):
                return NOT_DICOM
            if DEFLATED in start and inflates_beyond(stream, limits):
                return _TOO_LARGE
            plain = explicit_headers(stream, _TAG_OF, _LAST)
            dataset = _headers(stream, _TAGS, _LAST) if plain is None else plain
            if plain is None and text_of(dataset.file_meta, "MediaStorageSOPClassUID") == DIRECTORY_CLASS:
                return "DICOMDIR (its files are found by themselves)"
            if not text_of(dataset, "SOPInstanceUID") or not text_of(dataset, "SeriesInstanceUID"):
                return _NO_UID
            frames = integer_of(dataset, _MULTI_FRAME) or 1
            if frames > 1 and text_of(dataset, "Modality") in ("CT", "PT"):
                dataset.update(_headers(stream, _FRAME_TAGS, _LAST_GROUP))
            return instance_of(path, dataset)
    except FileNotFoundError:  # a link that leads nowhere by now; `images_in_place` sees files that went
        return _UNREADABLE
    except Exception as error:  # whatever broken bytes provoke in the reader, the file is not used
        raise_machine_failure(error)
        return _UNREADABLE


def _headers(stream: BinaryIO, tags: list[int], last: int) -> Dataset:
    stream.seek(0)
    # Plain integers: comparing pydicom's own tags takes most of the time of reading.
    return read_partial(
        stream, lambda tag, _vr, _length: int.__gt__(tag, last), force=True, specific_tags=tags
    )
