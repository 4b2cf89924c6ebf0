"""Hostile DICOM folders end in a status of their patient, within seconds, whatever is in them."""

import os
import time

import pydicom
import pytest
from pydicom.uid import RLELossless

from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from tests.dicom.write_dicom import write_pair


def setting(keyword, value):
    def edit(ds, _):
        setattr(ds, keyword, value)

    return edit


def drug(keyword, value):
    def edit(ds, _):
        setattr(ds.RadiopharmaceuticalInformationSequence[0], keyword, value)

    return edit


def raw(tag, vr, value):
    def edit(ds, _):
        ds.add_new(tag, vr, value)

    return edit


def scaled_positions(factor):
    def edit(ds, number):
        ds.ImagePositionPatient = [f"{float(v) * factor:.6e}" for v in ds.ImagePositionPatient]

    return edit


def bomb(ds, number):
    ds.Rows = ds.Columns = 65535
    ds.file_meta.TransferSyntaxUID = RLELossless
    ds.PixelData = pydicom.encaps.encapsulate([b"\x01\0\0\0\x40\0\0\0" + bytes(120)])
    ds["PixelData"].is_undefined_length = True


def dates(year):
    def edit(ds, _):
        ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = f"{year}1231"
        ds.SeriesTime = ds.AcquisitionTime = "235959"
        item = ds.RadiopharmaceuticalInformationSequence[0]
        item.RadiopharmaceuticalStartDateTime = f"{year}1231225959"

    return edit


PET_EDITS = {
    "spacing 1e-9": setting("PixelSpacing", ["1e-9", "1e-9"]),
    "spacing 1e30": setting("PixelSpacing", ["1e30", "1e30"]),
    "spacing 1e308": setting("PixelSpacing", ["1e308", "1e308"]),
    "negative spacing": setting("PixelSpacing", ["-4", "4"]),
    "positions 1e12": scaled_positions(1e12),
    "positions 1e300": scaled_positions(1e300),
    "positions 1e-12": scaled_positions(1e-12),
    "slope 1e308": setting("RescaleSlope", "1e308"),
    "slope 1e-320": setting("RescaleSlope", "1e-320"),
    "intercept 1e38": setting("RescaleIntercept", "1e38"),
    "years 9999": dates(9999),
    "years 0001": dates("0001"),
    "a year that is none": dates("2O20"),
    "duration 1e300": setting("ActualFrameDuration", "1e300"),
    "reference time 1e300": setting("FrameReferenceTime", "1e300"),
    "half-life 1e-300": drug("RadionuclideHalfLife", "1e-300"),
    "half-life 1e300": drug("RadionuclideHalfLife", "1e300"),
    "dose 1e308": drug("RadionuclideTotalDose", "1e308"),
    "weight 1e-300": setting("PatientWeight", "1e-300"),
    "a million frames": setting("NumberOfFrames", "1000000"),
    "an RLE slice of 65535 squared": bomb,
    "bits": setting("BitsStored", 99),
    "no bits": setting("BitsAllocated", 0),
    "65535 samples": setting("SamplesPerPixel", 65535),
    "long text": setting("SeriesDescription", "{" * 60000),
    "control characters": raw(0x0008103E, "LO", "a\x1b[2J\x07\0b"),
    "a sequence of nothing": raw(0x00540016, "SQ", []),
    "number of slices": setting("NumberOfSlices", 65535),
    "padding of everything": raw(0x00280120, "US", 0),
}


def chain(folder, out):
    """The states of index, convert and suv under policy `exclude`; nothing may be raised."""
    index_patient(PatientFiles("P1", folder), IndexSettings(), out / "index", "exclude")
    convert_patient(out / "index", out / "convert", ConvertSettings(), "exclude")
    suv_patient(out / "convert", out / "suv", SuvSettings(), "exclude")
    return read_status(out / "suv")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("edit", PET_EDITS.values(), ids=PET_EDITS.keys())
def test_one_value_in_every_slice(tmp_path, edit):
    folder = write_pair(tmp_path / "in", pet_edit=edit)
    start = time.perf_counter()
    status = chain(folder, tmp_path)
    assert time.perf_counter() - start < 20
    assert status.problem.isprintable() and len(status.problem) < 3000


@pytest.mark.parametrize("edit", [PET_EDITS[n] for n in ("spacing 1e-9", "spacing 1e30", "positions 1e12")])
def test_a_grid_that_no_scanner_has_is_excluded_with_its_reason(tmp_path, edit):
    status = chain(write_pair(tmp_path / "in", pet_edit=edit), tmp_path)
    assert status.state == "excluded" and "usable position" in status.problem


@pytest.mark.timeout(60)
def test_names_links_and_pipes(tmp_path):
    folder = write_pair(tmp_path / "in")
    os.rename(folder / "pet" / "000.dcm", os.fsencode(folder / "pet") + b"/\xe9{x}\x1b.dcm")
    (folder / "ring").symlink_to(folder / "ring")
    (folder / "gone.dcm").symlink_to(tmp_path / ("x" * 200))
    # Not /proc/self/fd itself, whose files change while images are read.
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "null.dcm").symlink_to("/dev/null")
    (folder / "top").symlink_to(tmp_path / "elsewhere")
    os.mkfifo(folder / "pipe.dcm")
    deep = folder
    for _ in range(20):
        deep = deep / ("d" * 200)
        try:
            deep.mkdir()
        except OSError:
            break
    assert chain(folder, tmp_path).state in ("ok", "warned")
