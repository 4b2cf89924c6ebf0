"""PET headers from DICOM files as scanners write them, private elements included."""

import copy
import io

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.header.pet_header_reading import merge_headers, slice_header
from pipeline.dicom.pet.factor import suv_factor
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings
from tests.dicom.pet.suv_cases import BASE
from tests.dicom.write_dicom import Recipe, plain_dataset

PET = Recipe("PT")


def stored(edit, syntax=ExplicitVRLittleEndian):
    """A PET header written to bytes and read again, so that VRs are those of a file."""
    ds = plain_dataset(PET, 0)
    edit(ds)
    ds.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, ds, enforce_file_format=True)
    stream.seek(0)
    return pydicom.dcmread(stream)


def factor_of(*datasets, **settings):
    header = merge_headers([slice_header(ds) for ds in datasets])
    return suv_factor(header, SuvSettings(**settings)).factors[0]


def philips(ds):
    ds.Units = "CNTS"
    block = ds.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.000551 ")
    block.add_new(0x09, "DS", "1.602563")


def philips_in_another_block(ds):
    ds.private_block(0x7053, "SOMEBODY ELSE", create=True).add_new(0x00, "DS", "9.9")
    philips(ds)


def ge(ds):
    ds.Manufacturer, ds.SeriesTime = "GE MEDICAL SYSTEMS", "120000"
    ds.AcquisitionTime = "100130"
    ds.private_block(0x0009, "GEMS_PETD_01", create=True).add_new(0x0D, "DT", "20200310100100.00")


def siemens(ds):
    ds.Manufacturer, ds.SeriesTime = "SIEMENS", "120000"
    block = ds.private_block(0x0071, "SIEMENS MED PT", create=True)
    block.add_new(0x22, "DT", "20200310100005.500000")


# Expected values: the same as in test_suv_vendors.py, from the formulas there.
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"]
)
@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda ds: None, 70000 / 350e6 * 2 ** (3600 / 6586.2)),
        (philips, 0.000551),
        (philips_in_another_block, 0.000551),
        (ge, 70000 / 350e6 * 2 ** (3660 / 6586.2)),
        (siemens, 70000 / 350e6 * 2 ** (3605.5 / 6586.2)),
    ],
    ids=["plain", "Philips", "Philips, second block", "GE", "Siemens"],
)
def test_vendors(edit, expected, syntax):
    assert factor_of(stored(edit, syntax)) == pytest.approx(expected, rel=1e-9)


def test_private_group_without_its_creator_is_not_believed():
    def edit(ds):
        philips(ds)
        ds[0x7053, 0x0010].value = "SOMEBODY ELSE"

    with pytest.raises(SuvError, match="7053"):
        factor_of(stored(edit))


def test_philips_factors_without_any_creator_are_believed_of_philips_alone():
    # IBSI-SUV DRO_2_4: de-identification dropped (7053,0010) and left the factor.
    def edit(ds, manufacturer):
        philips(ds)
        del ds[0x7053, 0x0010]
        ds.Manufacturer = manufacturer

    header = merge_headers([slice_header(stored(lambda ds: edit(ds, "Philips Medical Systems")))])
    result = suv_factor(header, SuvSettings())
    assert result.factors == (pytest.approx(0.000551, rel=1e-9),)
    assert any("creator" in text for text in result.audit.assumptions)
    with pytest.raises(SuvError, match="7053"):
        factor_of(stored(lambda ds: edit(ds, "SIEMENS")))


def test_ges_scan_time_without_its_creator_is_believed_of_ge_alone():
    # IBSI-SUV DRO_3_3.
    def edit(ds, manufacturer):
        ge(ds)
        del ds[0x0009, 0x0010]
        ds.Manufacturer = manufacturer

    expected = 70000 / 350e6 * 2 ** (3660 / 6586.2)
    assert factor_of(stored(lambda ds: edit(ds, "GE MEDICAL SYSTEMS"))) == pytest.approx(expected, rel=1e-9)
    assert factor_of(stored(lambda ds: edit(ds, "SIEMENS"))) != pytest.approx(expected, rel=1e-9)


def test_of_two_blocks_of_one_creator_the_filled_one_is_read():
    # PS3.5 7.8.1: a creator may reserve several blocks of a group.
    def edit(ds):
        ds.add_new(0x70530010, "LO", "Philips PET Private Group")
        ds.add_new(0x70530011, "LO", "Philips PET Private Group")
        ds.add_new(0x70531100, "DS", "0.000551")
        ds.Units = "CNTS"

    assert factor_of(stored(edit)) == pytest.approx(0.000551, rel=1e-9)


@pytest.mark.parametrize(
    ("keyword", "text", "words"),
    [
        ("Units", "BQML\\CNTS", "units"),
        ("DecayCorrection", "START\\NONE", "decay correction"),
        ("PatientWeight", "7_0", "weight"),  # Python's float() would read 70
    ],
)
def test_no_value_is_chosen_where_one_belongs(keyword, text, words):
    def edit(ds):
        tag = ds[keyword].tag
        ds._dict[tag] = pydicom.dataelem.RawDataElement(
            tag, ds[keyword].VR, len(text), text.encode(), 0, False, True, True
        )

    ds = stored(lambda ds: None)
    edit(ds)
    with pytest.raises(SuvError, match=words):
        factor_of(ds)


def test_of_two_injection_times_none_is_chosen():
    def edit(ds):
        ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = ["090000", "093000"]

    with pytest.raises(SuvError, match="injection time"):
        factor_of(stored(edit))


@pytest.mark.parametrize(("text", "refused"), [("70\\80", True), ("70\\70", False), ("70\\", True)])
def test_of_several_weights_none_is_chosen(text, refused):
    def edit(ds):
        ds._dict[ds["PatientWeight"].tag] = pydicom.dataelem.RawDataElement(
            ds["PatientWeight"].tag, "DS", len(text), text.encode(), 0, False, True, True
        )

    ds = stored(lambda ds: None)
    edit(ds)
    if refused:
        with pytest.raises(SuvError, match="weight"):
            factor_of(ds)
    else:
        assert factor_of(ds) == pytest.approx(70000 / 350e6 * 2 ** (3600 / 6586.2), rel=1e-9)


def test_values_that_differ_between_slices_are_refused():
    def heavier(ds):
        ds.PatientWeight = "71"

    with pytest.raises(SuvError, match="weight_kg"):
        factor_of(stored(lambda ds: None), stored(heavier))


def test_slices_may_differ_in_what_no_suv_depends_on():
    def spelt_otherwise(ds):
        ds.ManufacturerModelName = "biograph40"
        ds.CorrectedImage = ["ATTN", "DECY", "SCAT"]
        ds.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife = "6588"

    assert factor_of(stored(lambda ds: None), stored(spelt_otherwise)) == pytest.approx(
        70000 / 350e6 * 2 ** (3600 / 6586.2), rel=1e-9
    )

    def not_decayed(ds):
        ds.CorrectedImage = ["ATTN"]

    with pytest.raises(SuvError, match="corrected_image"):
        factor_of(stored(lambda ds: None), stored(not_decayed))


def test_series_time_may_differ_and_the_earliest_counts():
    def later(ds):
        ds.SeriesTime = ds.AcquisitionTime = "100500"

    assert factor_of(stored(later), stored(lambda ds: None)) == pytest.approx(
        70000 / 350e6 * 2 ** (3600 / 6586.2), rel=1e-9
    )


def test_beds_past_midnight_may_each_have_their_own_series_date():
    # Injected at 22:30, scanned from 23:58: 70000 / 350e6 * 2 ** (5280 / 6586.2).
    def bed(date, time):
        def edit(ds):
            ds.SeriesDate = ds.AcquisitionDate = date
            ds.SeriesTime = ds.AcquisitionTime = time
            ds.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartTime = "223000"

        return stored(edit)

    evening, night = bed("20200310", "235800"), bed("20200311", "000100")
    for order in ((evening, night), (night, evening)):
        assert factor_of(*order) == pytest.approx(0.0002 * 2 ** (5280 / 6586.2), rel=1e-9)
    with pytest.raises(SuvError, match="series_date"):
        factor_of(evening, bed("20200312", "000100"))


@pytest.mark.parametrize(
    ("keyword", "words"),
    [("PatientWeight", "weight"), ("Units", "units"), ("DecayCorrection", "decay correction")],
)
def test_broken_values_are_as_good_as_absent(keyword, words):
    def edit(ds):
        element = ds[keyword]
        raw = pydicom.dataelem.RawDataElement(element.tag, element.VR, 3, b"", 0, False, True, True)
        ds._dict[element.tag] = raw

    with pytest.raises(SuvError, match=words):
        factor_of(stored(edit))


def test_a_radiopharmaceutical_written_twice_is_one():
    def edit(ds):
        ds.RadiopharmaceuticalInformationSequence = [*ds.RadiopharmaceuticalInformationSequence] * 2

    assert factor_of(stored(edit)) == pytest.approx(70000 / 350e6 * 2 ** (3600 / 6586.2), rel=1e-9)

    def other(ds):
        edit(ds)
        second = copy.deepcopy(ds.RadiopharmaceuticalInformationSequence[1])
        second.RadionuclideTotalDose = "120000000"
        ds.RadiopharmaceuticalInformationSequence[1] = second

    with pytest.raises(SuvError, match="several radiopharmaceuticals"):
        factor_of(stored(other))


def test_an_empty_value_of_a_broken_representation_is_absent():
    """Found by the fuzzer: pydicom decodes such an element when it is merely looked up."""

    def edit(ds):
        (drug,) = ds.RadiopharmaceuticalInformationSequence
        tag = drug["RadionuclideTotalDose"].tag
        drug._dict[tag] = pydicom.dataelem.RawDataElement(tag, "D\0", 0, None, 0, False, True, True)

    ds = stored(lambda ds: None)
    edit(ds)
    with pytest.raises(SuvError, match="dose"):
        factor_of(ds)


def test_a_header_survives_json():
    assert PetHeader.from_json(BASE.as_json()) == BASE
