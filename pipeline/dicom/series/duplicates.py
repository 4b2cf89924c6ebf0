"""Files of one SOP Instance UID: copies of each other, or two contents of which one would be chosen by chance."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from pipeline.dicom.header.values import quiet_reading
from pipeline.tables.failures import raise_machine_failure

# What values can depend on: of whole groups, and of single elements of groups that archives rewrite.
_GROUPS = frozenset({0x0009, 0x0018, 0x0020, 0x0028, 0x0054, 0x0062, 0x0071, 0x3006, 0x5200, 0x7053, 0x7FE0})
_ELEMENTS = frozenset(
    int(Tag(name))
    for name in (
        "SOPClassUID", "ImageType", "Modality", "Manufacturer", "TimezoneOffsetFromUTC",
        "SeriesDate", "SeriesTime", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime",
        "PatientWeight", "PatientSize", "PatientSex", "RealWorldValueMappingSequence",
    )
)  # fmt: skip
_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
# Names of the same content: an archive gives a copy new ones.
_NAMES = frozenset(int(Tag(n)) for n in ("StudyInstanceUID", "SeriesInstanceUID", "StudyID", "SeriesNumber"))


def differing_elements(first: Path, second: Path) -> tuple[str, ...]:
    """Elements in which two files differ that values can depend on; empty for copies.

    Patient, accession, storage and the like are not compared, since archives rewrite them. Pixels of
    different compression are compared as decoded.

    Returns:
        Tags as `(0028,1053)`, in order.
    """
    try:
        if filecmp.cmp(first, second, shallow=False):
            return ()
        with quiet_reading():
            one, two = (pydicom.dcmread(path, force=True) for path in (first, second))
            tags = sorted(tag for tag in {*one.keys(), *two.keys()} if _counts(tag))
            return tuple(str(tag) for tag in tags if not _same(one, two, tag))
    except Exception as error:  # whatever broken bytes provoke in the reader: no copy that can be trusted
        raise_machine_failure(error)
        return ("content that cannot be read",)


def _counts(tag: BaseTag) -> bool:
    if tag.element == 0 or int(tag) in _NAMES:  # group lengths say nothing of the content
        return False
    return tag.group in _GROUPS or int(tag) in _ELEMENTS


def _same(one: Dataset, two: Dataset, tag: BaseTag) -> bool:
    if tag not in one or tag not in two:
        element = one[tag] if tag in one else two[tag]
        return bool(element.is_empty)
    if int(tag) in _PIXELS and _syntax(one) != _syntax(two):
        return bool((one.pixel_array == two.pixel_array).all())
    return bool(one[tag].value == two[tag].value)


def _syntax(dataset: Dataset) -> str:
    meta = getattr(dataset, "file_meta", None)
    return str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
