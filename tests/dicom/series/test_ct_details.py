"""Which CT series hold Hounsfield units of the tissue, and which are something else."""

from dataclasses import replace

import pytest

from pipeline.dicom.series.index_file import chosen
from pipeline.errors import DicomError
from pipeline.tables.status import read_status
from tests.dicom.series.index_helpers import index, reason_of
from tests.dicom.write_dicom import Recipe, voxels, write_pair, write_series

THIN = replace(Recipe(), spacing=(1.5, 2.0, 1.5), description="other")


def image_type(*values):
    return lambda ds, n: setattr(ds, "ImageType", list(values))


@pytest.mark.parametrize("kind", ["ED", "HU_MOD", "MGML", "Z_EFF"])
def test_another_unit_than_hu_is_no_ct(tmp_path, kind):
    folder = write_pair(tmp_path / "in", ct_edit=lambda ds, n: setattr(ds, "RescaleType", "HU"))
    write_series(folder / "more", voxels((24, 10, 8)), THIN, lambda ds, n: setattr(ds, "RescaleType", kind))
    series_index = index(folder, tmp_path / "index")
    assert f"(0028,1054) Rescale Type is {kind}" in reason_of(series_index, "other")
    assert chosen(series_index, "ct").description == "ct"


def test_an_unspecified_unit_is_told_and_comes_after_one_that_is_hu(tmp_path):
    # PS3.3 C.11.1.1.2: US is unspecified; C.8.2.1: where there is no Rescale Type, a CT is in HU.
    unspecified = write_pair(tmp_path / "in", ct_edit=lambda ds, n: setattr(ds, "RescaleType", "US"))
    assert chosen(index(unspecified, tmp_path / "index"), "ct").description == "ct"
    assert "Rescale Type is US (unspecified)" in read_status(tmp_path / "index").problem
    write_series(unspecified / "more", voxels(), replace(Recipe(), description="other"))
    assert chosen(index(unspecified, tmp_path / "both"), "ct").description == "other"
    assert read_status(tmp_path / "both").state == "ok"


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (("DERIVED", "SECONDARY", "MIN_IP"), "MIN_IP"),
        (("DERIVED", "SECONDARY", "MPR", "MINIP"), "MINIP"),
        (("DERIVED", "PRIMARY", "DE_IODINE"), "IODINE"),
        (("DERIVED", "PRIMARY", "AXIAL", "CT_SOM5 SPI DE", "VNC"), "VNC"),
        (("DERIVED", "SECONDARY", "AXIAL", "EFF_ATOMIC_NUM"), "EFF_ATOMIC_NUM"),
    ],
)
def test_projections_and_material_maps_are_no_ct(tmp_path, kinds, words):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "more", voxels((24, 10, 8)), THIN, image_type(*kinds))
    assert words in reason_of(index(folder, tmp_path / "index"), "other")


def test_an_original_ct_comes_before_a_derived_one_of_more_slices(tmp_path):
    folder = write_pair(tmp_path / "in")
    write_series(folder / "more", voxels((24, 10, 8)), THIN, image_type("DERIVED", "PRIMARY", "AXIAL"))
    assert chosen(index(folder, tmp_path / "index"), "ct").description == "ct"


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("KVP", ("120", "80")),
        ("ConvolutionKernel", ("B30f", "B70f")),
        ("SeriesTime", ("100000", "100100")),
        ("AcquisitionTime", ("100000", "100100")),
    ],
)
def test_two_phases_interleaved_in_one_ct_are_refused(tmp_path, keyword, values):
    folder = write_pair(tmp_path / "in", ct_edit=lambda ds, n: setattr(ds, keyword, values[n % 2]))
    with pytest.raises(DicomError, match="two stacks in one series.* alternates from slice to slice"):
        index(folder, tmp_path / "index")


def test_a_ct_of_two_tube_voltages_is_told(tmp_path):
    folder = write_pair(tmp_path / "in", ct_edit=lambda ds, n: setattr(ds, "KVP", "80" if n > 5 else "120"))
    index(folder, tmp_path / "index")
    assert "2 values of (0018,0060) KVP" in read_status(tmp_path / "index").problem
