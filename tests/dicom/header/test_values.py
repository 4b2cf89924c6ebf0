"""Values of headers that are absent, empty, private or broken."""

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from pipeline.dicom.header.values import (
    integer_of,
    items_of,
    number_of,
    numbers_of,
    one_text_of,
    parse_number,
    private_value,
    text_of,
    texts_of,
    value_of,
)


def raw(keyword, vr, value):
    """A dataset with a single element as a file holds it, not yet decoded."""
    ds = Dataset()
    tag = Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, False, True, True)
    return ds


def private(creator, element, text):
    ds = Dataset()
    ds.private_block(0x7053, creator, create=True).add_new(element, "DS", text)
    return ds


def test_private_elements_are_found_by_their_creator():
    ds = private("SOMEBODY ELSE", 0x00, "9.9")
    ds.private_block(0x7053, "Philips PET Private Group", create=True).add_new(0x00, "DS", "0.000551 ")
    assert private_value(ds, 0x7053, 0x00, "philips pet private group") == "0.000551"
    assert private_value(ds, 0x0009, 0x0D, "GEMS_PETD_01") == ""


def test_an_absent_element_has_no_value():
    ds = Dataset()
    assert value_of(ds, "PatientWeight") is None and number_of(ds, "PatientWeight") is None
    assert text_of(ds, "Units") == one_text_of(ds, "Units") == "" and texts_of(ds, "Units") == ()
    assert items_of(ds, "RadiopharmaceuticalInformationSequence") == []


@pytest.mark.parametrize(
    ("value", "first", "single"),
    [
        (b"BQML ", "BQML", "BQML"),
        (b"BQML\\CNTS", "BQML", "BQML\\CNTS"),
        (b"BQML\\BQML", "BQML", "BQML"),
        (b" ", "", ""),
    ],
)
def test_texts_lose_their_padding_and_none_of_several_is_chosen(value, first, single):
    ds = raw("Units", "CS", value)
    assert text_of(ds, "Units") == first
    assert one_text_of(ds, "Units") == single


@pytest.mark.parametrize(
    ("value", "number", "numbers"),
    [
        (b"1.75", 1.75, (1.75,)),
        (b"70\\80", None, (70.0, 80.0)),
        (b"70\\70", 70.0, (70.0, 70.0)),
        (b"70\\abc", None, ()),
        (b"1e400", None, ()),
    ],
)
def test_numbers_are_finite_and_none_of_several_is_chosen(value, number, numbers):
    ds = raw("PatientSize", "DS", value)
    assert number_of(ds, "PatientSize") == number
    assert numbers_of(ds, "PatientSize") == numbers


@pytest.mark.parametrize(("text", "number"), [("7", 7.0), ("7_0", None), ("nan", None), ("", None)])
def test_texts_as_numbers(text, number):
    assert parse_number(text) == number


@pytest.mark.parametrize(("value", "number"), [(b"12", 12), (b"12.0", 12), (b"12.5", None)])
def test_integers(value, number):
    assert integer_of(raw("NumberOfSlices", "DS", value), "NumberOfSlices") == number
