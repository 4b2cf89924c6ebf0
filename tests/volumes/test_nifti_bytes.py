"""Cut, damaged and hostile NIfTI files are refused, whatever ITK would make of them."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import GeometryError
from pipeline.volumes.nifti import read_nifti, to_itk, write_nifti
from pipeline.volumes.nifti_bytes import check_nifti
from pipeline.volumes.volume import Grid, Volume

GRID = Grid((6, 5, 4), (3.0, 2.0, 2.0), (-10.0, 20.0, -300.0))


def values(dtype: str = "int16") -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, GRID.shape).astype(dtype)


def plain(dtype: str = "int16") -> bytearray:
    """A whole uncompressed NIfTI-1 file, as written by this package."""
    path = Path(os.environ["PYTEST_TMP"]) / "plain.nii.gz"
    write_nifti(path, Volume(values(dtype), GRID))
    return bytearray(gzip.decompress(path.read_bytes()))


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))


def refused(path: Path, match: str) -> str:
    with pytest.raises(GeometryError, match=match) as caught:
        read_nifti(path)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path, share):
    whole = bytes(plain())
    packed = gzip.compress(whole)
    (tmp_path / "a.nii.gz").write_bytes(packed[: int(len(packed) * share)])
    refused(tmp_path / "a.nii.gz", "cut|does not begin")
    (tmp_path / "b.nii").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "b.nii", "cut|does not begin")


def test_a_member_that_is_missing_is_refused(tmp_path, monkeypatch):
    # A chain of gzip members that ends at a member's end has a good checksum, and too few values.
    monkeypatch.setattr("pipeline.volumes.nifti._BLOCK_BYTES", 64)
    write_nifti(tmp_path / "v.nii.gz", Volume(values(), GRID))
    raw = (tmp_path / "v.nii.gz").read_bytes()
    (tmp_path / "v.nii.gz").write_bytes(raw[: raw.rfind(b"\x1f\x8b\x08")])
    assert "bytes of values" in refused(tmp_path / "v.nii.gz", "is cut")


def test_a_changed_byte_of_a_compressed_file_is_refused(tmp_path):
    packed = gzip.compress(bytes(plain()))
    path = tmp_path / "a.nii.gz"
    accepted = []
    for place in range(10, len(packed)):
        path.write_bytes(packed[:place] + bytes([packed[place] ^ 0x55]) + packed[place + 1 :])
        try:
            accepted.append((place, read_nifti(path)))
        except GeometryError:
            continue
    assert not accepted


@pytest.mark.parametrize(
    ("place", "code", "value", "match"),
    [
        (108, "f", 0.0, "vox_offset"),
        (108, "f", 353.5, "vox_offset"),
        (108, "f", 400.0, "is cut"),
        (108, "f", float("nan"), "vox_offset"),
        (108, "f", 1e30, "vox_offset"),
        (80, "f", 1e-9, "pixdim"),
        (84, "f", 1e30, "pixdim"),
        (88, "f", 0.0, "pixdim"),
        (88, "f", float("inf"), "pixdim"),
        (112, "f", float("inf"), "scl_slope"),
        (112, "2f", (1.0, float("nan")), "scl_slope and scl_inter"),
        # Nothing is to be added by nifti1.h; ITK adds 7.
        (112, "2f", (0.0, 7.0), "no intercept without a slope"),
        (112, "2f", (float("nan"), 7.0), "no intercept without a slope"),
        (42, "h", 3, "longer than its header"),
        (42, "h", 5, "is cut"),
        (42, "h", -4, "3D"),
        (40, "h", 4096, "3D"),
        (70, "h", 32, "complex"),
        (70, "h", 128, "colour"),
        (70, "h", 0, "code 0"),
        (72, "h", 8, "8 bits"),
        (344, "i", 0, "does not begin"),
        (288, "f", 1e12, "two spacings"),
        (292, "f", 1e12, "no image has|cannot be read"),
    ],
)
def test_header_values_that_cannot_be_are_refused(tmp_path, place, code, value, match):
    raw = plain()
    struct.pack_into("<" + code, raw, place, *(value if isinstance(value, tuple) else (value,)))
    for path, content in ((tmp_path / "a.nii", raw), (tmp_path / "a.nii.gz", gzip.compress(bytes(raw)))):
        path.write_bytes(bytes(content))
        refused(path, match)


@pytest.mark.parametrize(
    "scale", [(float("nan"),) * 2, (float("nan"), 0.0), (0.0, 0.0)], ids=["NaN", "NaN, 0", "0"]
)
def test_a_slope_that_is_no_number_means_no_scaling(tmp_path, scale):
    # nifti1.h: "If the scl_slope field is nonzero, then each voxel value should be scaled"; its library reads NaN as 0.
    raw = plain()
    struct.pack_into("<2f", raw, 112, *scale)
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    assert np.array_equal(read_nifti(tmp_path / "a.nii").array, values())


def test_a_size_that_no_memory_holds_is_refused_at_once(tmp_path):
    raw = plain()
    struct.pack_into("<3h", raw, 42, 32000, 32000, 32000)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(raw)))
    assert "nifti_max_mib" in refused(tmp_path / "a.nii.gz", "too large")
    write_nifti(tmp_path / "b.nii.gz", Volume(values(), GRID))
    with pytest.raises(GeometryError, match="too large"):
        check_nifti(tmp_path / "b.nii.gz", max_bytes=100)


@pytest.mark.timeout(60)
def test_pipes_folders_and_wrong_endings(tmp_path):
    os.mkfifo(tmp_path / "pipe.nii.gz")
    assert "a pipe" in refused(tmp_path / "pipe.nii.gz", "not a regular file")
    os.mkfifo(tmp_path / "pipe.nrrd")
    refused(tmp_path / "pipe.nrrd", "not a regular file")
    (tmp_path / "gz.nii").write_bytes(gzip.compress(bytes(plain())))
    refused(tmp_path / "gz.nii", "name and content differ")
    (tmp_path / "empty.nii").write_bytes(b"")
    refused(tmp_path / "empty.nii", "does not begin")


def test_values_that_are_no_numbers_are_refused(tmp_path):
    array = values("float32")
    array[0, 0, :2] = np.nan, np.inf
    write_nifti(tmp_path / "a.nii.gz", Volume(array, GRID))
    assert "1.67 %" in refused(tmp_path / "a.nii.gz", "not numbers")
    sitk.WriteImage(to_itk(Volume(array, GRID)), str(tmp_path / "a.nrrd"))
    refused(tmp_path / "a.nrrd", "not numbers")


def test_nifti_2_and_wide_integers_pass(tmp_path):
    head = bytearray(544)
    struct.pack_into("<i8s2h8q", head, 0, 540, b"n+2\0\r\n\x1a\n", 1024, 64, 3, 4, 5, 6, 1, 1, 1, 1)
    struct.pack_into("<8dq2d", head, 104, 1.0, 2.0, 2.0, 3.0, 0, 0, 0, 0, 544, 1.0, 0.0)
    struct.pack_into("<i", head, 500, 2)
    raw = bytes(head) + values("int64").tobytes()
    (tmp_path / "a.nii").write_bytes(raw)
    check_nifti(tmp_path / "a.nii")
    (tmp_path / "a.nii").write_bytes(raw[:-1])
    refused(tmp_path / "a.nii", "is cut")


def test_a_fourth_axis_of_one_passes(tmp_path):
    raw = plain()
    struct.pack_into("<2h", raw, 40, 4, 4)
    (tmp_path / "a.nii").write_bytes(bytes(raw))
    assert np.array_equal(read_nifti(tmp_path / "a.nii").array, values())


def test_mutated_files_give_their_values_or_are_refused(tmp_path):
    """Random bytes changed anywhere: only the values' own bytes of an uncompressed file may differ."""
    rng = np.random.default_rng(0)
    whole, path = plain(), tmp_path / "m.nii"
    for _ in range(300):
        raw = bytearray(whole)
        for place in rng.integers(0, 352, rng.integers(1, 4)):
            raw[place] = rng.integers(0, 256)
        path.write_bytes(bytes(raw))
        try:
            volume = read_nifti(path)
        except GeometryError:
            continue
        assert volume.array.shape == GRID.shape
        assert np.isfinite(volume.array).all() and np.isfinite(volume.grid.affine()).all()


def test_a_compressed_file_of_zeros_only_is_read_in_pieces(tmp_path):
    # 200 MiB behind the values: the reader stops at the first byte too many.
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    path = tmp_path / "bomb.nii.gz"
    with path.open("wb") as sink:
        sink.write(packer.compress(bytes(plain())))
        for _ in range(200):
            sink.write(packer.compress(bytes(1 << 20)))
        sink.write(packer.flush())
    refused(path, "longer than its header")


@pytest.mark.parametrize(("aside", "fine"), [(0.0, True), (0.9, True), (40.0, False)])
def test_two_forms_must_give_one_place(tmp_path, aside, fine):
    # ITK writes both forms, of an oblique and flipped image, too.
    turned = sitk.VersorTransform((0.2, -0.5, 0.7), 0.6).GetMatrix()
    image = to_itk(Volume(values(), GRID))
    image.SetDirection([v * (-1 if i % 3 == 2 else 1) for i, v in enumerate(turned)])
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    struct.pack_into("<2h", raw, 252, 1, 1)
    (x,) = struct.unpack_from("<f", raw, 280 + 12)
    struct.pack_into("<f", raw, 280 + 12, x + aside)
    (tmp_path / "a.nii").write_bytes(raw)
    if fine:
        read_nifti(tmp_path / "a.nii")
    else:
        refused(tmp_path / "a.nii", "two places.*40 apart")


@pytest.mark.parametrize(
    ("pixdim", "match"),
    [
        ((2.0, 2.0, 3.0), ""),
        ((2.0, 2.0, 3.004), ""),
        ((1.0, 1.0, 1.0), "two spacings.*pixdim 1, 1, 1, sform 2, 2, 3"),  # volumes twelve times too small
        ((2.0, 2.0, 2.7), "two spacings"),
        ((-2.0, 2.0, 3.0), "value that cannot be.*pixdim"),  # ITK would turn the x axis round
    ],
)
def test_an_sform_that_stands_alone_and_pixdim_must_give_one_spacing(tmp_path, pixdim, match):
    raw = plain()
    struct.pack_into("<3f", raw, 80, *pixdim)
    (tmp_path / "a.nii").write_bytes(raw)
    if match:
        refused(tmp_path / "a.nii", match)
    else:
        assert read_nifti(tmp_path / "a.nii").grid.spacing_mm == pytest.approx(GRID.spacing_mm, rel=2e-3)
