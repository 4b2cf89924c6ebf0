"""Breaks DICOM files in reproducible ways: bits, lengths, tags, values."""

import random
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

GARBAGE = [
    "",
    "abc",
    "-1",
    "0",
    "1e400",
    "nan",
    "99999999",
    "20209999",
    "250000",
    "\\\\",
    "1\\2\\3",
    "é" * 70,
]


def mutate(files: list[Path], seed: int) -> str:
    """Break one file, or the same element of all files; returns what was done."""
    rng = random.Random(seed)
    kind = rng.choice(["flip", "truncate", "zeros", "repeat", "drop", "garbage", "swap", "swap"])
    victims = files if rng.random() < 0.5 else [rng.choice(files)]
    if kind in ("flip", "truncate", "zeros", "repeat"):
        for path in victims:
            path.write_bytes(_bytes(bytearray(path.read_bytes()), kind, random.Random(seed)))
        return kind
    change = kind
    for path in victims:
        change = _elements(path, kind, random.Random(seed))
    return change


def _bytes(data: bytearray, kind: str, rng: random.Random) -> bytes:
    at = rng.randrange(128, len(data))
    if kind == "flip":
        for _ in range(rng.choice([1, 8, 100])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del data[at:]
    elif kind == "zeros":
        data[at : at + rng.randrange(1, 64)] = bytes(rng.randrange(1, 64))
    else:
        data[at:at] = data[at : at + rng.randrange(1, 200)]
    return bytes(data)


def _elements(path: Path, kind: str, rng: random.Random) -> str:
    ds = pydicom.dcmread(path)
    places = [ds, *ds.get("RadiopharmaceuticalInformationSequence", [])]
    place = rng.choice(places)
    tags = [e.tag for e in place]
    first, second = rng.choice(tags), rng.choice(tags)
    name = place[first].keyword
    if kind == "drop":
        del place[first]
    elif kind == "garbage":
        _force(place, first, rng.choice(GARBAGE))
    else:
        a, b = place[first], place[second]
        if a.VR == b.VR:
            a.value, b.value = b.value, a.value
    try:
        pydicom.dcmwrite(path, ds)
    except Exception:  # a change that cannot be written is no case
        return "unwritable"
    return f"{kind} {name}"


def _force(place: Dataset, tag: int, text: str) -> None:
    """Put raw bytes into an element, whatever its representation allows."""
    element = place[tag]
    if element.VR == "SQ":
        return
    raw = text.encode("utf-8")
    element_type = pydicom.dataelem.RawDataElement
    place._dict[tag] = element_type(tag, element.VR, len(raw), raw, 0, False, True, True)
