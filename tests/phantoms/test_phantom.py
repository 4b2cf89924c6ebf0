"""The files of a patient against its truth, read back with pydicom and SimpleITK; the cohort's table."""

import csv
import hashlib
import json
from datetime import datetime
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import yaml

from pipeline.errors import GeometryError
from pipeline.phantoms.anatomy import BRAIN, COUCH_TOP_MM
from pipeline.phantoms.headers import PLANTED, UID_ROOT
from pipeline.phantoms.patient import SCANNER_CENTRE_MM, draw_patient, rigid_matrix
from pipeline.phantoms.phantom import cohort_table, write_cohort_table, write_patient
from pipeline.phantoms.scanner import image_grid
from pipeline.phantoms.tumour import TumourField
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.phantom import PhantomSettings, SecondPathology
from pipeline.tables.cohort import read_cohort
from pipeline.tables.status import read_status

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = PhantomSettings()
PATIENT = "P004"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / PATIENT
    write_patient(PATIENT, SETTINGS, out)
    return out


@pytest.fixture(scope="module")
def truth(folder: Path) -> dict:
    return json.loads((folder / "truth/truth.json").read_text())


def slices(folder: Path) -> list[pydicom.FileDataset]:
    read = [pydicom.dcmread(path) for path in folder.glob("*.dcm")]
    return sorted(read, key=lambda data: float(data.ImagePositionPatient[2]))


def digest(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_same_bytes_every_time(folder: Path, tmp_path: Path) -> None:
    write_patient(PATIENT, SETTINGS, tmp_path / "again")
    assert digest(folder) == digest(tmp_path / "again")


def test_status_and_layout(folder: Path) -> None:
    assert read_status(folder).state == "ok"
    assert len(list((folder / "dicom/CT").iterdir())) == SETTINGS.ct_shape[0]
    assert len(list((folder / "dicom/PET").iterdir())) == SETTINGS.pet_shape[0]
    assert not list((folder / "dicom").rglob("*.json"))


def test_suv_from_the_headers_by_hand(folder: Path, truth: dict) -> None:
    pet = slices(folder / "dicom/PET")
    head = pet[-1]
    agent = head.RadiopharmaceuticalInformationSequence[0]
    assert (head.Units, head.DecayCorrection) == ("BQML", "START")
    assert float(agent.RadionuclideHalfLife) == 6586.2
    injected = datetime.strptime(agent.RadiopharmaceuticalStartDateTime, "%Y%m%d%H%M%S.%f")
    started = datetime.strptime(head.SeriesDate + head.SeriesTime, "%Y%m%d%H%M%S.%f")
    # (0054,1102) START: corrected to the start of the series, here the first bed's too.
    assert min(data.AcquisitionTime for data in pet) == head.SeriesTime
    assert len({data.AcquisitionTime for data in pet}) == 2
    seconds = (started - injected).total_seconds()
    assert 45 * 60 < seconds < 90 * 60
    left = float(agent.RadionuclideTotalDose) * 2 ** (-seconds / 6586.2)
    factor = float(head.PatientWeight) * 1000 / left
    assert truth["suv_factor"] == pytest.approx(factor, rel=1e-12)

    right = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "truth/pet_suvbw.nii.gz"))).astype(float)
    slope = np.array([float(data.RescaleSlope) for data in pet])[:, None, None]
    measured = np.stack([data.pixel_array for data in pet]) * slope * factor
    assert (np.abs(measured - right) <= 1e-6 * right).all()
    assert 3 < right.max() < 60


def test_another_reader_sees_the_same_images(folder: Path, truth: dict) -> None:
    # GDCM, through SimpleITK: order, geometry and slice-wise rescale by another implementation.
    reader = sitk.ImageSeriesReader()
    for part, scale, expected in (
        ("PET", truth["suv_factor"], "pet_suvbw.nii.gz"),
        ("CT", 1.0, "mask_ct.nii.gz"),
    ):
        (series,) = reader.GetGDCMSeriesIDs(str(folder / "dicom" / part))
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder / "dicom" / part), series))
        reader.SetOutputPixelType(sitk.sitkFloat64)
        image, right = reader.Execute(), sitk.ReadImage(str(folder / "truth" / expected))
        assert image.GetSize() == right.GetSize()
        np.testing.assert_allclose(image.GetOrigin(), right.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(image.GetSpacing(), right.GetSpacing(), atol=1e-6)
        array = sitk.GetArrayFromImage(image) * scale
        if part == "PET":
            np.testing.assert_allclose(array, sitk.GetArrayFromImage(right), atol=2e-4)
        else:
            tumour = array[sitk.GetArrayFromImage(right) > 0]
            assert np.median(tumour) == pytest.approx(75, abs=3)


def test_a_tumour_outside_the_field_of_view_is_refused(tmp_path: Path) -> None:
    small = SETTINGS.model_copy(update={"pet_shape": (20, 70, 70)})
    with pytest.raises(GeometryError, match="field of view"):
        write_patient(PATIENT, small, tmp_path / PATIENT)
    assert not list(tmp_path.rglob("*.dcm"))


def test_decay_factor_agrees_with_the_frames_reference_time(folder: Path) -> None:
    # PS3.3 C.8.9.4.1.5: activity at Frame Reference Time equals the frame's average.
    for data in slices(folder / "dicom/PET"):
        seconds = float(data.FrameReferenceTime) / 1000
        assert float(data.DecayFactor) == pytest.approx(2 ** (seconds / 6586.2), rel=1e-9)
        start = (
            datetime.strptime(data.AcquisitionTime, "%H%M%S.%f")
            - datetime.strptime(data.SeriesTime, "%H%M%S.%f")
        ).total_seconds()
        middle = start + int(data.ActualFrameDuration) / 2000
        assert abs(seconds - middle) < 1


def test_ct_values_are_tissues(folder: Path) -> None:
    ct = slices(folder / "dicom/CT")
    hu = np.stack([d.pixel_array * float(d.RescaleSlope) + float(d.RescaleIntercept) for d in ct])
    grid = image_grid(draw_patient(4, SETTINGS), SETTINGS.ct_shape, SETTINGS.ct_spacing_mm)
    rigid = rigid_matrix(draw_patient(4, SETTINGS))

    def around(template: tuple[float, float, float]) -> float:
        z, y, x = np.rint(grid.indices(rigid[:3, :3] @ template + rigid[:3, 3])[0]).astype(int)
        return float(np.median(hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]))

    assert around((0, -3, 40)) == pytest.approx(35, abs=8)  # brain
    assert around((0, 2, -70)) == pytest.approx(-1000, abs=60)  # airway
    assert around((0, 34, -27)) > 500  # a vertebra, half-way between two discs
    assert around((0, 45, 110)) == pytest.approx(-1000, abs=15)  # above the head
    assert np.std(hu[:, :8]) == pytest.approx(10, rel=0.1)  # noise in the air before the face


def test_the_couch_stays_with_the_scanner(tmp_path: Path) -> None:
    """Its board lies at the same place of the field of view in two patients turned differently."""
    from pipeline.phantoms.anatomy import paint_ct

    boards = []
    for number in (1, 5):
        patient = draw_patient(number, SETTINGS)
        grid = image_grid(patient, SETTINGS.ct_shape, SETTINGS.ct_spacing_mm)
        ct = paint_ct(patient, TumourField(patient.tumour), grid, rigid_matrix(patient))
        first = int(np.ceil((COUCH_TOP_MM / SETTINGS.ct_spacing_mm[1]) + (SETTINGS.ct_shape[1] - 1) / 2))
        boards.append(ct[:, first:, :])
    np.testing.assert_array_equal(boards[0], boards[1])
    assert (boards[0] > -200).any()


def test_rigid_truth_by_the_brains_centroid(folder: Path, truth: dict) -> None:
    # The brain is an ellipsoid: its centroid in the PET is the image of its centre.
    image = sitk.ReadImage(str(folder / "truth/pet_suvbw.nii.gz"))
    pet = sitk.GetArrayFromImage(image)
    parts = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray((pet > 4).astype("u1"))))
    brain = np.argwhere(parts == np.bincount(parts.ravel())[1:].argmax() + 1).mean(axis=0)[::-1]
    centroid = np.array(image.TransformContinuousIndexToPhysicalPoint([float(i) for i in brain]))
    rigid = np.array(truth["rigid"])
    expected = rigid[:3, :3] @ BRAIN.centre_mm + rigid[:3, 3]
    assert np.linalg.norm(centroid - expected) < 1.0


def test_rigid_matrix_by_hand() -> None:
    from dataclasses import replace

    patient = draw_patient(1, SETTINGS)
    turned = replace(patient, rotation_deg=(0.0, 0.0, 90.0), shift_mm=(1.0, 2.0, 3.0))
    matrix = rigid_matrix(turned)
    # A quarter turn about z takes the left side (x) to the back (y).
    np.testing.assert_allclose(matrix[:3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    field = matrix @ [0, 0, -8, 1]
    np.testing.assert_allclose(field[:3] - SCANNER_CENTRE_MM[patient.centre], [1, 2, 3], atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rigid_matrix(patient)[:3, :3]), 1)


def test_identifiers_are_planted_and_in_no_file_name(folder: Path) -> None:
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        assert not any(text in name for text in (*PLANTED.values(), UID_ROOT))
        if path.suffix == ".json":
            assert not any(text in path.read_text() for text in (*PLANTED.values(), UID_ROOT))
        if path.suffix == ".dcm":
            data = pydicom.dcmread(path, stop_before_pixels=True)
            for keyword, text in PLANTED.items():
                assert str(data[keyword].value).startswith(text)
            assert data.PatientID != PATIENT
            assert data.SOPInstanceUID.startswith(UID_ROOT)
            assert data.SOPInstanceUID.is_valid


def test_uids_are_unique(folder: Path, tmp_path: Path) -> None:
    write_patient("P005", SETTINGS, tmp_path / "P005")
    seen: list[str] = []
    for place in (folder, tmp_path / "P005"):
        seen.extend(pydicom.dcmread(p, stop_before_pixels=True).SOPInstanceUID for p in place.rglob("*.dcm"))
    assert len(seen) == len(set(seen)) == 2 * (SETTINGS.ct_shape[0] + SETTINGS.pet_shape[0] + 1)
    # UUID-derived: an integer of at most 128 bits after 2.25.
    assert all(int(uid.removeprefix("2.25.")) < 2**128 for uid in seen)


def test_committed_table_is_what_the_generator_makes(tmp_path: Path) -> None:
    write_cohort_table(SETTINGS, tmp_path / "made.csv")
    committed = ROOT / "config/cohorts/phantom.csv"
    assert (tmp_path / "made.csv").read_bytes() == committed.read_bytes()


def test_the_second_cancers_table_is_what_the_small_study_generates(tmp_path: Path) -> None:
    study = yaml.safe_load((ROOT / "config/studies/papers/pet_multiscale_small.yaml").read_text())
    write_cohort_table(PhantomSettings.model_validate(study["phantom"]), tmp_path / "made.csv")
    committed = ROOT / "config/cohorts/two_cancers.csv"
    assert (tmp_path / "made.csv").read_bytes() == committed.read_bytes()


def test_a_second_cancer_has_its_own_hazard_and_leaves_the_first_alone() -> None:
    two = SETTINGS.model_copy(update={"second": SecondPathology(weight_volume=2.0, weight_heterogeneity=0.0)})
    ids = range(1, 81)
    pairs = [(draw_patient(n, SETTINGS), draw_patient(n, two)) for n in ids]
    assert 25 < sum(after.pathology for _, after in pairs) < 55
    for before, after in pairs:
        if not after.pathology:
            assert before == after
            continue
        assert after.tumour.volume_ml == before.tumour.volume_ml
        x, y, z = after.tumour.semi_axes
        assert z > 1.2 * max(x, y)
        # The hazard by hand: each term is its weight times the same Z-score.
        expected = before.hazard_parts["volume"] / SETTINGS.weight_volume * 2.0
        assert after.hazard_parts["volume"] == pytest.approx(expected)
        assert after.hazard_parts["heterogeneity"] == 0.0


def test_the_outcome_is_the_event_by_a_time_that_all_are_followed_to() -> None:
    second = SecondPathology(outcome_days=700.0)
    table = list(csv.DictReader(cohort_table(SETTINGS.model_copy(update={"second": second})).splitlines()))
    for row in table:
        occurred = row["event"] == "1" and float(row["time_days"]) <= 700.0
        assert row["label_outcome"] == str(int(occurred))
        assert occurred or float(row["time_days"]) > 700.0
    with pytest.raises(ValueError, match="before the earliest censoring"):
        PhantomSettings(second=SecondPathology(outcome_days=1500.0))


def test_table_passes_the_cohort_contract() -> None:
    table = read_cohort(CohortSettings(table=str(ROOT / "config/cohorts/phantom.csv")))
    assert len(table.ids("development")) >= 40
    assert len(table.ids("external")) >= 40
    assert not table.problems
    assert table["P001"].image_path == "P001/dicom"
    assert {p.centre for p in table.patients if p.set == "external"} == {"north", "south"}
    assert {p.extra["clinical_sex"] for p in table.patients} == {"M", "F"}


def test_a_patient_does_not_depend_on_the_cohorts_size() -> None:
    more = SETTINGS.model_copy(update={"external": 90})
    assert cohort_table(more).startswith(cohort_table(SETTINGS))
