"""Values of DICOM headers, which may be absent, empty or broken."""

from __future__ import annotations

import contextlib
import logging
import math
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from pydicom import config
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from pipeline.tables.failures import raise_machine_failure

_PADDING = " \0\n\r\t"
_FRAME = "#"  # no UID holds it
# Representations whose bytes are the text, several values parted by a backslash (PS3.5 6.2).
_PLAIN = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "SH", "TM", "UI"})
_pydicom_log = logging.getLogger("pydicom")


@contextlib.contextmanager
def quiet_reading() -> Iterator[None]:
    """Read DICOM without pydicom's warnings, since they print values that may identify a patient."""
    mode = config.settings.reading_validation_mode
    level = _pydicom_log.level
    _pydicom_log.setLevel(logging.CRITICAL)
    config.settings.reading_validation_mode = config.IGNORE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            config.settings.reading_validation_mode = mode
            _pydicom_log.setLevel(level)


def value_of(dataset: Dataset, tag: int | str) -> Any:
    """An element's value; None where it is absent, empty or cannot be decoded.

    A value that breaks its representation (a weight `abc`) counts as absent. Whoever needs it
    says which element is missing, so that nothing is lost by not raising here.
    """
    try:
        value = dataset[tag].value
    except Exception as error:  # pydicom decodes lazily and raises whatever the bytes provoke
        raise_machine_failure(error)
        return None
    return None if value is None or value == "" else value


def text_of(dataset: Dataset, tag: int | str) -> str:
    """An element as text without padding: the first of several values, empty if it is absent."""
    values = texts_of(dataset, tag)
    return values[0] if values else ""


def one_text_of(dataset: Dataset, tag: int | str) -> str:
    """An element that should have a single value, as text.

    Several values that differ come as written (`BQML\\CNTS`). No consumer knows such a text, so
    that none of the values is chosen.
    """
    return "\\".join(dict.fromkeys(texts_of(dataset, tag)))


def texts_of(dataset: Dataset, tag: int | str) -> tuple[str, ...]:
    """An element's values as texts without padding."""
    raw = _raw_text(dataset, tag)
    if raw is not None:
        return tuple(part.strip(_PADDING) for part in raw.split("\\")) if raw.strip(_PADDING) else ()
    value = value_of(dataset, tag)
    if value is None:
        return ()
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    items = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    return tuple(str(item).strip(_PADDING) for item in items)


def _raw_text(dataset: Dataset, tag: int | str) -> str | None:
    """Plain ASCII text of an element not yet decoded; None where pydicom must decode it.

    Headers are read about three times as fast as by pydicom's own conversion.
    """
    key = _number(tag)
    try:
        element = dataset.get_item(key)
    except KeyError:
        return None
    except Exception as error:  # looking up an empty value of a broken representation decodes it
        raise_machine_failure(error)
        return None
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        return None
    kind = element.VR or _representation(key)
    if kind in _PLAIN and element.value.isascii():
        return element.value.decode("ascii")
    if kind == "US" and len(element.value) == 2:
        return str(int.from_bytes(element.value, "little" if element.is_little_endian else "big"))
    return None


@cache
def _number(tag: int | str) -> BaseTag:
    return Tag(tag)


@cache
def _representation(tag: BaseTag) -> str:
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return ""


def number_of(dataset: Dataset, tag: int | str) -> float | None:
    """An element as a finite number; None if there is none, or several that differ (`70\\80`)."""
    values = numbers_of(dataset, tag)
    return values[0] if len(set(values)) == 1 else None


def numbers_of(dataset: Dataset, tag: int | str) -> tuple[float, ...]:
    """An element's values as finite numbers; empty if any of them is not one."""
    numbers = [parse_number(text) for text in texts_of(dataset, tag)]
    finite = tuple(number for number in numbers if number is not None)
    return finite if len(finite) == len(numbers) else ()


def parse_number(text: str) -> float | None:
    """The finite number that a text holds, or None; Python's digit groups (`7_0`) are not numbers."""
    if "_" in text:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def integer_of(dataset: Dataset, tag: int | str) -> int | None:
    """An element as a whole number, or None."""
    number = number_of(dataset, tag)
    return int(number) if number is not None and number == int(number) else None


def items_of(dataset: Dataset, tag: int | str) -> list[Dataset]:
    """Items of a sequence; empty if it is absent or broken."""
    value = value_of(dataset, tag)
    if value is None or isinstance(value, str | bytes):
        return []
    try:
        return [item for item in value if isinstance(item, Dataset)]
    except Exception as error:  # a sequence, too, is decoded on access
        raise_machine_failure(error)
        return []


def plane_name(uid: str, frame: int) -> str:
    """What a frame of a multi-frame object is called among the planes of images: its instance and its number from 1."""
    return f"{uid}{_FRAME}{frame}"


def instance_of_plane(name: str) -> str:
    """(0008,1155) of the instance that a plane is of."""
    return name.partition(_FRAME)[0]


def planes_named(items: Iterable[Dataset]) -> frozenset[str]:
    """The planes that references to images name: instances, (0008,1155), or frames of theirs, (0008,1160)."""
    names = set()
    for item in items:
        uid = text_of(item, "ReferencedSOPInstanceUID").strip()
        frames = [int(n) for n in numbers_of(item, "ReferencedFrameNumber")]
        names.update([plane_name(uid, n) for n in frames] or [uid] if uid else [])
    return frozenset(names)


def private_value(dataset: Dataset, group: int, element: int, creator: str) -> str:
    """A private element as text, found by its creator (PS3.5 7.8.1), wherever its block lies.

    Args:
        dataset: The headers.
        group: Odd group number.
        element: Low byte of the element number within the creator's block.
        creator: Private creator; case and padding are ignored.
    """
    for tag in [int(tag) for tag in dataset.keys() if int(tag) >> 16 == group]:  # noqa: SIM118
        block = tag & 0xFFFF
        if 0x10 <= block <= 0xFF and text_of(dataset, tag).lower() == creator.lower():
            text = private_text(dataset, (group << 16) | (block << 8) | element)
            if text:  # a creator may own several blocks
                return text
    return ""


def private_text(dataset: Dataset, tag: int) -> str:
    """A private element as text; empty where it is absent."""
    value = value_of(dataset, tag)
    if isinstance(value, bytes):
        # In implicit VR without a dictionary entry the bytes of the text come as they are.
        return value.decode("ascii", "replace").strip(" \0")
    return text_of(dataset, tag)
