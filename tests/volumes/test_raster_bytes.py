"""MetaImage and NRRD files that are cut, changed or not what their header says: refused, never read as they come."""

import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from pipeline.errors import GeometryError
from pipeline.volumes.nifti import read_nifti

ARRAY = (np.random.default_rng(5).random((9, 8, 7)) > 0.5).astype(np.uint8) * 3


def written(folder, name, compressed=True):
    image = sitk.GetImageFromArray(ARRAY)
    image.SetSpacing((1.5, 2.0, 3.0))
    sitk.WriteImage(image, str(folder / name), compressed)
    return folder / name


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def test_whole_files_are_read(tmp_path, name, compressed):
    volume = read_nifti(written(tmp_path, name, compressed))
    assert (volume.array == ARRAY).all() and volume.grid.spacing_mm == (3.0, 2.0, 1.5)


@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def test_a_changed_byte_of_compressed_values_is_refused(tmp_path, name):
    """Wherever the byte lies in the values; the order of its bits and its place are tried one after the other."""
    path = written(tmp_path, name)
    data = next(iter([p for p in tmp_path.iterdir() if p != path]), path)
    sound = data.read_bytes()
    header = (
        sound.index(b"LOCAL\n") + 6 if name == "a.mha" else sound.index(b"\n\n") + 2 if data == path else 0
    )
    begin = header + (
        12 if "nrrd" in name or "nhdr" in name else 2
    )  # after gzip's own header, which says when
    for place in range(begin, len(sound), 7):
        changed = bytearray(sound)
        changed[place] ^= 0x55
        data.write_bytes(changed)
        with pytest.raises(GeometryError, match="cut or damaged|cut|longer"):
            read_nifti(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["a.mha", "a.mhd", "a.nrrd", "a.nhdr"])
def test_cut_files_are_refused(tmp_path, name, compressed):
    path = written(tmp_path, name, compressed)
    data = next(iter([p for p in tmp_path.iterdir() if p != path]), path)
    data.write_bytes(data.read_bytes()[: -len(ARRAY)])
    with pytest.raises(GeometryError, match="cut"):
        read_nifti(path)


def test_more_values_than_the_header_says_are_refused(tmp_path):
    path = written(tmp_path, "a.mha", compressed=False)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(GeometryError, match="longer than its header says"):
        read_nifti(path)


def metaimage(values, **fields):
    header = {
        "ObjectType": "Image", "NDims": "3", "DimSize": "7 8 9", "ElementType": "MET_UCHAR",
        "CompressedData": "False", "ElementDataFile": "LOCAL",
    } | fields  # fmt: skip
    return "".join(f"{key} = {value}\n" for key, value in header.items()).encode() + values


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (metaimage(b"", DimSize="70000 70000 70000"), "too large"),
        (metaimage(zlib.compress(bytes(1 << 22)), CompressedData="True"), "longer than its header says"),
        (metaimage(ARRAY.tobytes(), ElementType="MET_FOO"), "header cannot be read"),
        (metaimage(ARRAY.tobytes(), DimSize="7 8 -9"), "header cannot be read"),
        (metaimage(b"", ElementDataFile="/etc/passwd"), "lie elsewhere"),
        (metaimage(b"", ElementDataFile="slice%03d.raw"), "lie elsewhere"),
        (metaimage(b"", ElementDataFile="gone.raw"), "are missing"),
        (b"\0" * 1000, "header cannot be read"),
        (b"", "header cannot be read"),
    ],
)
def test_headers_that_cannot_be(tmp_path, content, message):
    (tmp_path / "a.mha").write_bytes(content)
    with pytest.raises(GeometryError, match=message):
        read_nifti(tmp_path / "a.mha")


def test_an_nrrd_that_unpacks_to_more_than_it_says(tmp_path):
    packed = gzip.compress(bytes(1 << 22))
    header = b"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 7 8 9\nencoding: gzip\n\n"
    (tmp_path / "a.nrrd").write_bytes(header + packed)
    with pytest.raises(GeometryError, match="longer than its header says"):
        read_nifti(tmp_path / "a.nrrd")


def test_a_label_takes_the_place_of_the_files_name(tmp_path):
    path = tmp_path / "DOE_JANE.mha"
    path.write_bytes(b"x")
    with pytest.raises(GeometryError) as refusal:
        read_nifti(path, label="mask file 1")
    assert "DOE" not in str(refusal.value) and "mask file 1" in str(refusal.value)
