"""Elements of files in explicit VR little endian, the common encoding, picked out of their bytes at once.

The index reads thirty elements of each of thousands of files; pydicom's general reader takes about three
times as long. Whatever is not plain here is left to it: other encodings, sequences that are asked
for, texts beyond ASCII, files that are cut.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import BinaryIO

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

_FIRST_READ, _LONGEST_HEADERS = 1 << 14, 1 << 22
_SHORT = frozenset(
    (b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN", b"SH", b"SL",
     b"SS", b"ST", b"TM", b"UI", b"UL", b"US")
)  # fmt: skip
_LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
"""PS3.5 7.1.2: representations whose length has four bytes, after two that are reserved."""
_NAMES = {kind: kind.decode() for kind in _SHORT | _LONG}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_SYNTAX, _MEDIA_CLASS = 0x00020010, 0x00020002
_DIRECTORY = b"1.2.840.10008.1.3.10"
_EXPLICIT = (b"1.2.840.10008.1.2.1", b"1.2.840.10008.1.2.4.", b"1.2.840.10008.1.2.5")
"""Explicit little endian, and compressed pixels in it; a longer UID, such as deflated, is another encoding."""
_head = struct.Struct("<HH2sH").unpack_from
_length = struct.Struct("<I").unpack_from
_item = struct.Struct("<HHI").unpack_from


class _NotPlain(Exception):
    """What this reader leaves to pydicom."""


def explicit_headers(stream: BinaryIO, wanted: Mapping[int, BaseTag], last: int) -> Dataset | None:
    """The wanted elements up to a tag; None where the file is for the general reader.

    Args:
        stream: The file, at any place.
        wanted: Tags by number.
        last: Elements after this tag are not looked at.
    """
    stream.seek(0)
    data = stream.read(_FIRST_READ)
    while True:
        try:
            return _elements(data, wanted, last)
        except (struct.error, IndexError):  # the headers go on beyond what was read
            more = stream.read(len(data)) if len(data) < _LONGEST_HEADERS else b""
            if not more:
                return None
            data += more
        except _NotPlain:
            return None


def _elements(data: bytes, wanted: Mapping[int, BaseTag], last: int) -> Dataset | None:
    if data[128:132] != b"DICM":
        raise _NotPlain
    place, size, before = 132, len(data), 0
    elements: dict[BaseTag, RawDataElement] = {}
    syntax = b""
    while True:
        group, element, kind, length = _head(data, place)
        tag = group << 16 | element
        if tag > last:
            break
        if tag <= before or (group > 2 and not syntax):
            raise _NotPlain
        before = tag
        place += 8
        if kind not in _SHORT:
            length = _wide_length(kind, data, place)
            place += 4
        if length == _UNDEFINED and tag not in wanted:
            place = _after_items(data, place)
            continue
        if place + length > size:  # also of a sequence that is asked for and has no length
            raise IndexError
        if group == 2:
            syntax = _checked(tag, data[place : place + length].rstrip(b"\0 "), syntax)
        elif tag in wanted:
            elements[wanted[tag]] = _raw(wanted[tag], kind, data[place : place + length], place)
        place += length
    return Dataset(elements)


def _wide_length(kind: bytes, data: bytes, place: int) -> int:
    if kind not in _LONG:
        raise _NotPlain
    return int(_length(data, place)[0])


def _raw(tag: BaseTag, kind: bytes, value: bytes, place: int) -> RawDataElement:
    """An element not yet decoded; a sequence, and a text in another character set, are not for this reader."""
    if kind == b"SQ" or not (value.isascii() or kind in (b"US", b"UN", b"OB")):
        raise _NotPlain
    return RawDataElement(tag, _NAMES[kind], len(value), value, place, False, True, True)


def _checked(tag: int, value: bytes, syntax: bytes) -> bytes:
    """The transfer syntax, once it is read; directories and other encodings are not for this reader."""
    if tag == _MEDIA_CLASS and value == _DIRECTORY:
        raise _NotPlain
    if tag != _SYNTAX:
        return syntax
    if value != _EXPLICIT[0] and value != _EXPLICIT[2] and not value.startswith(_EXPLICIT[1]):
        raise _NotPlain
    return value


def _after_items(data: bytes, place: int, depth: int = 0) -> int:
    """Where a sequence of undefined length ends."""
    if depth > 20:
        raise _NotPlain
    while True:
        group, element, length = _item(data, place)
        tag = group << 16 | element
        place += 8
        if tag == _SEQUENCE_END:
            return place
        if tag != _ITEM:
            raise _NotPlain
        place = _after_item(data, place, depth) if length == _UNDEFINED else place + length


def _after_item(data: bytes, place: int, depth: int) -> int:
    """Where an item of undefined length ends."""
    while True:
        group, element, kind, length = _head(data, place)
        place += 8
        if (group << 16 | element) == _ITEM_END:
            return place
        if kind not in _SHORT:
            length = _wide_length(kind, data, place)
            place += 4
        place = _after_items(data, place, depth + 1) if length == _UNDEFINED else place + length
