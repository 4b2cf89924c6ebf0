"""Real patients through index, convert and suv."""

import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.dicom.header.pet_header_reading import merge_headers, slice_header
from pipeline.dicom.pet.factor import suv_factor
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import DicomError, SuvError
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_nifti

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[3] / "../shared/data"))
pytestmark = pytest.mark.skipif(not (DATA / "sts").is_dir(), reason="the real patients are not here")
PET_ONLY = IndexSettings(modalities=("pet",), min_slices=2)


def run(folder: Path, out: Path, index: IndexSettings, stages: str = "suv") -> Path:
    index_patient(PatientFiles("P1", folder), index, out / "index", "stop")
    convert_patient(out / "index", out / "convert", ConvertSettings(), "stop")
    if stages == "suv":
        suv_patient(out / "convert", out / "suv" / "P1", SuvSettings(), "stop")
    return out


def unpack(archive: str, target: Path) -> Path:
    with tarfile.open(DATA / archive) as content:
        content.extractall(target, filter="data")
    return target


@pytest.fixture(scope="module")
def sarcoma(tmp_path_factory):
    target = tmp_path_factory.mktemp("sts")
    return run(unpack("sts/STS_003.tar.xz", target / "files"), target, IndexSettings())


def test_stored_suv_is_left_alone(sarcoma):
    stored = read_nifti(sarcoma / "convert" / "pet_stored.nii.gz").array
    suv = read_nifti(sarcoma / "suv" / "P1" / "pet_suvbw.nii.gz").array
    assert np.array_equal(stored, suv)
    assert json.loads((sarcoma / "suv" / "P1" / "suv.json").read_text())["factor"] == 1.0


@pytest.mark.parametrize(("kind", "name"), [("PET", "pet_stored"), ("CT", "ct_hu")])
def test_volume_equals_a_plain_pydicom_loop(sarcoma, kind, name):
    # Other implementation: slices sorted by z, slope and intercept in double precision.
    files = sorted((sarcoma / "files").rglob(f"{kind}/image/*.dcm"))
    slices = sorted((pydicom.dcmread(f) for f in files), key=lambda d: float(d.ImagePositionPatient[2]))
    plain = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in slices])
    volume = read_nifti(sarcoma / "convert" / f"{name}.nii.gz")
    np.testing.assert_allclose(volume.array, plain, rtol=1e-6, atol=1e-6)
    assert volume.array.dtype == (np.int16 if kind == "CT" else np.float32)
    last = volume.grid.points([len(slices) - 1, 0, 0])[0]
    np.testing.assert_allclose(last, [float(v) for v in slices[-1].ImagePositionPatient], atol=1e-3)


def test_qin_headneck(tmp_path):
    folder = unpack("dicom_seg/QIN-HEADNECK-01-0139.tar.xz", tmp_path / "files")
    out = run(folder, tmp_path, PET_ONLY)
    account = json.loads((out / "suv" / "P1" / "suv.json").read_text())
    # Data set's README: 4.0166e-4 from the series time; the latest bed time would give 4.6901e-4.
    assert account["factor"] == pytest.approx(4.0166e-4, rel=2e-5)
    suv = read_nifti(out / "suv" / "P1" / "pet_suvbw.nii.gz").array
    stored = read_nifti(out / "convert" / "pet_stored.nii.gz").array
    np.testing.assert_allclose(suv, stored.astype(np.float64) * account["factor"], rtol=1e-6)
    # The same README: SUVmax 20.83 in segment 1 of the DICOM SEG.
    grid = read_nifti(out / "suv" / "P1" / "pet_suvbw.nii.gz").grid
    assert max(segment_values(folder, suv, grid)) == pytest.approx(20.83, abs=0.005)


def segment_values(folder, suv, grid):
    """SUV in segment 1, its frames placed by their positions alone."""
    (path,) = (folder / "QIN-HEADNECK-01-0139" / "mask").iterdir()
    ds = pydicom.dcmread(path)
    for frame, group in zip(ds.pixel_array, ds.PerFrameFunctionalGroupsSequence, strict=True):
        if group.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1 and frame.any():
            corner = group.PlanePositionSequence[0].ImagePositionPatient
            z, y, x = np.round(grid.indices([[float(v) for v in corner]])[0]).astype(int)
            assert (y, x) == (0, 0)
            yield suv[z][frame > 0].max()


@pytest.mark.parametrize("settings", [PET_ONLY, IndexSettings()], ids=["uneven slices", "no CT"])
def test_refusal_names_what_is_missing(tmp_path, settings):
    # Six slices far from each other, without units, weight and dose: every stage that
    # refuses them names all of it.
    with pytest.raises(DicomError) as refusal:
        run(DATA / "suv_refusal", tmp_path, settings)
    for word in ("units", "weight", "dose"):
        assert word in str(refusal.value)


def test_missing_values_are_refused_by_the_headers_alone():
    path = next((DATA / "suv_refusal").glob("*.dcm"))
    header = merge_headers([slice_header(pydicom.dcmread(path))])
    with pytest.raises(SuvError, match=r"units .*weight .*dose"):
        suv_factor(header, SuvSettings())


def test_no_identifier_leaves_the_index(sarcoma):
    dataset = pydicom.dcmread(next((sarcoma / "files").rglob("PET/image/*.dcm")), stop_before_pixels=True)
    texts = [p.read_text() for f in ("convert", "suv") for p in (sarcoma / f).rglob("*.json")]
    for keyword in ("PatientID", "AccessionNumber", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert not any(str(dataset[keyword].value) in text for text in texts), keyword
