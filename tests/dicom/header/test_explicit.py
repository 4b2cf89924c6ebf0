"""The quick reader against pydicom's own: the same elements, or none at all."""

from __future__ import annotations

import io
import random
import struct

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from pipeline.dicom.header.explicit import explicit_headers
from pipeline.dicom.header.values import texts_of
from pipeline.dicom.series.scan import _LAST, _TAG_OF, _headers
from tests.dicom.contours.contour_helpers import LESION, RoiSpec, rtstruct
from tests.dicom.write_dicom import Recipe, plain_dataset, set_pixels, voxels


def written(ds, **options):
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True, **options)
    return stream


def image(**values):
    ds = plain_dataset(Recipe("PT"), 3)
    ds.ImagePositionPatient, ds.ImageOrientationPatient, ds.PixelSpacing = (
        [1, 2, 3.5],
        [1, 0, 0, 0, 1, 0],
        [2, 2],
    )
    set_pixels(ds, voxels((6, 6)))
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def deep():
    """Sequences of undefined length within each other before what is asked for."""
    ds = image()
    inner, outer = Dataset(), Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "x" * 40_000
    inner.is_undefined_length_sequence_item = True
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    outer["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    outer.is_undefined_length_sequence_item = True
    ds.ReferencedStudySequence = Sequence([outer, outer])
    ds["ReferencedStudySequence"].is_undefined_length = True
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20200310100000.00")
    ds.private_block(0x0019, "X", create=True).add_new(1, "OB", bytes(60_000))
    return ds


def as_texts(dataset):
    return {tag: texts_of(dataset, tag) for tag in _TAG_OF if tag in dataset}


@pytest.mark.parametrize("make", [image, deep], ids=["plain", "deep"])
def test_the_same_elements_as_pydicom(make):
    stream = written(make())
    quick = explicit_headers(stream, _TAG_OF, _LAST)
    assert quick is not None and len(quick) > 20
    assert as_texts(quick) == as_texts(_headers(stream, [int(tag) for tag in _TAG_OF], _LAST))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_other_encodings_are_left_to_pydicom(syntax):
    ds = image()
    if syntax == RLELossless:
        ds.compress(RLELossless)
    ds.file_meta.TransferSyntaxUID = syntax
    options = {} if syntax == RLELossless else {
        "implicit_vr": syntax == ImplicitVRLittleEndian, "little_endian": syntax != ExplicitVRBigEndian}  # fmt: skip
    quick = explicit_headers(written(ds, **options), _TAG_OF, _LAST)
    assert (quick is not None) == (syntax == RLELossless)


@pytest.mark.parametrize("text", ["Größe", "日本"])
def test_texts_beyond_ascii_are_left_to_pydicom(text):
    ds = image(SeriesDescription=text, SpecificCharacterSet="ISO_IR 192")
    assert explicit_headers(written(ds), _TAG_OF, _LAST) is None


def test_sequences_that_are_asked_for_are_left_to_pydicom(tmp_path):
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTV", LESION)])
    with path.open("rb") as stream:
        assert explicit_headers(stream, _TAG_OF, _LAST) is None


def test_cut_and_changed_files_give_the_same_or_nothing():
    sound = written(deep()).getvalue()
    tags = [int(tag) for tag in _TAG_OF]
    differing = 0
    for seed in range(400):
        draw = random.Random(seed)
        data = bytearray(sound)
        if seed % 3:
            for _ in range(draw.choice((1, 5))):
                data[draw.randrange(128, 3000)] ^= 1 << draw.randrange(8)
        else:
            del data[draw.randrange(132, len(data)) :]
        quick = explicit_headers(io.BytesIO(data), _TAG_OF, _LAST)
        if quick is None:
            continue
        try:
            expected = as_texts(_headers(io.BytesIO(data), tags, _LAST))
        except Exception:  # pydicom gave up on a part that nobody asked for
            continue
        differing += as_texts(quick) != expected
    assert differing == 0


def test_a_length_beyond_the_file_is_no_element():
    sound = bytearray(written(image()).getvalue())
    place = sound.index(b"\x08\x00\x60\x00CS")
    struct.pack_into("<H", sound, place + 6, 65534)
    assert explicit_headers(io.BytesIO(sound), {int(Tag("Modality")): BaseTag(0x00080060)}, _LAST) is None
