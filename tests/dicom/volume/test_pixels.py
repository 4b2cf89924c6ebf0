"""Pixels of all encodings and compressions, as their encoders wrote them."""

import shutil
import subprocess
import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from pipeline.dicom.volume.pixels import require_size
from pipeline.dicom.volume.stored_frames import frames_of
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from tests.dicom.volume import jpeg_lossless
from tests.dicom.volume.convert_helpers import convert, ct_of, read_as_ct
from tests.dicom.write_dicom import Recipe, voxels, write_series


def test_big_endian_pixels(tmp_path):
    def edit(ds, _):
        ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        ds.PixelData = np.frombuffer(ds.PixelData, "<u2").astype(">u2").tobytes()

    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, voxels().astype(int) - 1024)


def test_overlay_bits_above_the_stored_ones_are_dropped(tmp_path):
    values = voxels((4, 10, 8))

    def edit(ds, _):
        ds.BitsStored, ds.HighBit = 12, 11
        for group, bit in ((0x6000, 12), (0x6002, 15)):
            ds.add_new((group, 0x0100), "US", 16)
            ds.add_new((group, 0x0102), "US", bit)

    folder = write_series(tmp_path / "in", values | 0x9000, Recipe(), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, values.astype(int) - 1024)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16])
def test_values_of_more_bits_than_are_stored_are_refused_where_no_overlay_is_declared(tmp_path, dtype):
    """An implant of 3,576 HU (stored 4,600) became -520 HU by 12 bits."""
    values = np.full((4, 10, 8), 1060, dtype)
    values[:, :3], values[2, 5, 5] = 24, 4600

    def edit(ds, _):
        ds.BitsStored, ds.HighBit = (12, 11) if dtype == np.uint16 else (13, 12)

    folder = write_series(tmp_path / "in", values, Recipe(), edit)
    with pytest.raises(DicomError, match=r"more bits than \(0028,0101\).*to 4600"):
        read_as_ct(folder)


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"), [(1.0, -1024.0, "int16"), (0.5, 0.0, "float32"), (20.0, 0.0, "float32")]
)
def test_whole_numbers_stay_whole_where_they_fit(tmp_path, slope, intercept, dtype):
    values = voxels((4, 10, 8))
    values[2, 0, 0] = 3000  # × 20 leaves int16 in the third slice, after two that fit
    values[:2] //= 2
    folder = write_series(tmp_path / "in", values, Recipe(slope=slope, intercept=intercept))
    volume = read_as_ct(folder)
    assert str(volume.array.dtype) == dtype
    assert np.array_equal(volume.array, values.astype(np.float64) * slope + intercept)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless], ids=lambda u: u.name)
def test_compressed_pixels(tmp_path, syntax):
    values = voxels((4, 64, 64))

    def edit(ds, _):
        ds.compress(syntax, generate_instance_uid=False)

    folder = write_series(tmp_path / "in", values, Recipe(), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, values.astype(int) - 1024)


LOSSLESS = [(JPEGLossless, selection) for selection in range(1, 8)] + [(JPEGLosslessSV1, 1)]


@pytest.mark.parametrize(("syntax", "selection"), LOSSLESS, ids=lambda v: str(getattr(v, "name", v)))
def test_jpeg_lossless_of_an_encoder_of_our_own(tmp_path, syntax, selection):
    values = voxels((2, 24, 17))
    values[0, 3, :4] = (0, 65535, 0, 32768)  # the largest differences, 32768 among them

    def edit(ds, _):
        jpeg_lossless.compress(ds, syntax, selection)

    folder = write_series(tmp_path / "in", values, Recipe(intercept=0.0), edit)
    volume = read_as_ct(folder)
    assert np.array_equal(volume.array, values)


def test_jpeg_lossless_of_signed_12_bits(tmp_path):
    values = voxels((3, 16, 16)).astype(np.int16) - 1024

    def edit(ds, _):
        ds.BitsStored, ds.HighBit = 12, 11
        jpeg_lossless.compress(ds, JPEGLosslessSV1, 1)

    folder = write_series(tmp_path / "in", values, Recipe(intercept=0.0), edit)
    assert np.array_equal(ct_of(convert(folder, tmp_path)).array, values)


@pytest.mark.parametrize("selection", [0, 2, 5])
def test_a_broken_jpeg_is_refused(tmp_path, selection):
    def edit(ds, number):
        jpeg_lossless.compress(ds, JPEGLossless, 1)
        if number == 1:
            whole = bytes(ds.PixelData)
            ds.PixelData = [whole[:60] + b"\xff\xd9", whole[:16] + b"\xff\xd8" * 40, whole[:30]][
                selection // 2
            ]

    folder = write_series(tmp_path / "in", voxels((3, 16, 16)), Recipe(), edit)
    with pytest.raises(DicomError, match="cannot be (decoded|read)"):
        convert(folder, tmp_path)


ENCODERS = {
    "dcmcjpeg": (["+e1"], JPEGLosslessSV1),
    "dcmcjpeg process 14": (["+el", "+sv", "6"], JPEGLossless),
    "dcmcjpls": (["+el"], JPEGLSLossless),
    "dcmcrle": ([], RLELossless),
}


@pytest.mark.parametrize(("name", "entry"), ENCODERS.items(), ids=ENCODERS.keys())
def test_compressed_by_dcmtk(tmp_path, name, entry):
    """Files of DCMTK's encoders, which share no code with the decoders here."""
    program = shutil.which(name.split()[0])
    if program is None:
        pytest.skip(f"{name} is not installed (Debian package dcmtk)")
    values = voxels((3, 40, 33))
    plain = write_series(tmp_path / "plain", values, Recipe())
    (tmp_path / "in").mkdir()
    for path in plain.iterdir():
        target = tmp_path / "in" / path.name
        subprocess.run([program, *entry[0], path, target], check=True, capture_output=True)
        assert pydicom.dcmread(target).file_meta.TransferSyntaxUID == entry[1]
    assert np.array_equal(ct_of(convert(tmp_path / "in", tmp_path)).array, values.astype(int) - 1024)


@pytest.mark.parametrize("name", ["max_frame_mib", "max_series_mib"])
def test_pixels_that_no_memory_should_be_given_to_are_refused_before_they_are_unpacked(tmp_path, name):
    def edit(ds, number):
        if number == 0 and name == "max_frame_mib":
            ds.Rows = ds.Columns = 65535
            ds.file_meta.TransferSyntaxUID = RLELossless
            ds.PixelData = pydicom.encaps.encapsulate([b"\x02\0\0\0" + bytes(60)])
            ds["PixelData"].is_undefined_length = True
        elif name == "max_series_mib":
            ds.NumberOfFrames = 10**8

    folder = write_series(tmp_path / "in", voxels(), Recipe(), edit)
    with pytest.raises(DicomError, match=f"too large.*convert.{name}"):
        convert(folder, tmp_path)


def sized(frames, syntax):
    """The size of an object of 1024 × 1024 in 8 bits."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.Rows = ds.Columns = 1024
    ds.BitsAllocated, ds.NumberOfFrames = 8, frames
    return ds


def test_an_object_counts_as_the_memory_that_it_takes():
    # 900 frames as float32 take 3,600 MiB; beside them one frame that is unpacked, or the whole file as it was read.
    for syntax, mib in ((RLELossless, 3601), (ExplicitVRLittleEndian, 4500)):
        with pytest.raises(DicomError, match=f"a series is too large.*{mib} MiB"):
            require_size(sized(900, syntax), 1, ConvertSettings(), "PET series")
    require_size(sized(767, RLELossless), 1, ConvertSettings(), "PET series")
    require_size(sized(614, ExplicitVRLittleEndian), 1, ConvertSettings(), "PET series")


def test_frames_of_a_packed_object_are_unpacked_one_by_one(tmp_path):
    values = np.repeat(np.arange(60, dtype=np.uint16), 128 * 128).reshape(60, 128, 128)
    path = write_series(tmp_path / "in", values[:1], Recipe()) / "000.dcm"
    ds = pydicom.dcmread(path)
    ds.NumberOfFrames, ds.PixelData = 60, values.tobytes()
    ds.compress(RLELossless)
    ds.save_as(path)
    ds = pydicom.dcmread(path)
    tracemalloc.start()
    frames = frames_of(ds, "")
    sums = [int(frame.sum()) for frame in frames.values]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames.count == 60 and frames.shape == (128, 128)
    assert sums == [number * 128 * 128 for number in range(60)]
    assert peak < values.nbytes / 4  # all frames at once: values.nbytes and more


def test_a_packed_object_of_too_few_frames_is_refused():
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2.1", "1.2"
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = 4, 4, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 0
    ds.NumberOfFrames, ds.PixelData = 2, bytes(64)
    ds.compress(RLELossless)
    ds.NumberOfFrames = 3
    with pytest.raises(DicomError, match="pixels cannot be decoded"):
        list(frames_of(ds, "").values)


def test_a_ct_from_head_to_foot_is_not_too_large():
    # 2 m in slices of 0.7 mm, and of 0.6 mm.
    ds = Dataset()
    ds.Rows = ds.Columns = 512
    ds.BitsAllocated = 16
    require_size(ds, 2858, ConvertSettings(), "CT series")
    with pytest.raises(DicomError, match="a series is too large.*convert.max_series_mib"):
        require_size(ds, 3334, ConvertSettings(), "CT series")
