"""Ten faults planted into a phantom's DICOM: each is flagged or refused; the same patient without a fault is not.

The stages run as the workflow runs them, from the files of a scanner to the crop. That clean patients
are left in peace is counted on the 80 of the finished demo (`test_finished_flags.py`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.crops.crop import CropSources, crop_patient
from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.phantoms.phantom import write_patient
from pipeline.registration.register import RegistrationSources, register_patient
from pipeline.registration.template import choose_template
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.phantom import PhantomSettings
from pipeline.store.crops import read_status as crop_status
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status

PATIENT, TEMPLATE = "P001", "P002"
REGISTRATION = RegistrationSettings(template=TEMPLATE)
CONTOURS = ContourSettings(roi=("GTVp",))


@dataclass(frozen=True)
class Scan:
    """DICOM of a patient in a folder."""

    folder: Path

    def edit(self, kind: str, change: Callable[[pydicom.FileDataset], None]) -> None:
        """Change every file of `CT`, `PET` or `RTSTRUCT`."""
        for path in sorted((self.folder / kind).glob("*.dcm")):
            data = pydicom.dcmread(path)
            change(data)
            data.save_as(path)

    def edit_pixels(self, kind: str, change: Callable[[np.ndarray, pydicom.FileDataset], np.ndarray]) -> None:
        """Replace the stored values of every slice."""

        def replace(data: pydicom.FileDataset) -> None:
            values = change(data.pixel_array.copy(), data)
            data.PixelData = np.ascontiguousarray(values.astype(data.pixel_array.dtype)).tobytes()

        self.edit(kind, replace)


def lesion_centre(dicom: Path) -> np.ndarray:
    """Mean point (LPS x, y, z; mm) of the outlines of the ROI `GTVp`."""
    data = pydicom.dcmread(dicom / "RTSTRUCT/rs.dcm")
    number = next(roi.ROINumber for roi in data.StructureSetROISequence if roi.ROIName == "GTVp")
    drawn = next(roi for roi in data.ROIContourSequence if roi.ReferencedROINumber == number)
    points = [np.array(contour.ContourData, dtype=float).reshape(-1, 3) for contour in drawn.ContourSequence]
    return np.concatenate(points).mean(axis=0)


def shift_pet(scan: Scan) -> None:
    def change(data: pydicom.FileDataset) -> None:
        x, y, z = (float(v) for v in data.ImagePositionPatient)
        data.ImagePositionPatient = [x + 15.0, y, z]

    scan.edit("PET", change)


def weigh_ten_times(scan: Scan) -> None:
    for kind in ("CT", "PET"):
        scan.edit(kind, lambda data: setattr(data, "PatientWeight", 10 * float(data.PatientWeight)))


def cut_lesion(scan: Scan) -> None:
    """A contour beside the place where all others lie, so that the crop cuts it off."""

    def change(data: pydicom.FileDataset) -> None:
        for roi in data.ROIContourSequence:
            for contour in roi.ContourSequence:
                points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
                contour.ContourData = [f"{v:.3f}" for v in (points + np.array([80.0, 0.0, 0.0])).ravel()]

    scan.edit("RTSTRUCT", change)


def turn_upside_down(scan: Scan) -> None:
    """Both images from the feet to the head, by positions that say the contrary: no turn aligns them."""
    for kind in ("CT", "PET"):
        paths = sorted(
            (scan.folder / kind).glob("*.dcm"),
            key=lambda p: float(pydicom.dcmread(p).ImagePositionPatient[2]),
        )
        values = [pydicom.dcmread(path).PixelData for path in paths]
        for path, pixels in zip(paths, reversed(values), strict=True):
            data = pydicom.dcmread(path)
            data.PixelData = pixels
            data.save_as(path)


def mirror_pet(scan: Scan) -> None:
    scan.edit_pixels("PET", lambda values, _: values[:, ::-1])


def half_life_of_carbon(scan: Scan) -> None:
    def change(data: pydicom.FileDataset) -> None:
        data.RadiopharmaceuticalInformationSequence[0].RadionuclideHalfLife = "1223.4"

    scan.edit("PET", change)


def lose_slices(scan: Scan) -> None:
    for path in sorted((scan.folder / "PET").glob("*.dcm"))[28:32]:
        path.unlink()


def leave_uncorrected(scan: Scan) -> None:
    def change(data: pydicom.FileDataset) -> None:
        data.CorrectedImage = [word for word in data.CorrectedImage if word != "ATTN"]

    scan.edit("PET", change)


def inject_choline(scan: Scan) -> None:
    def change(data: pydicom.FileDataset) -> None:
        drug = data.RadiopharmaceuticalInformationSequence[0]
        drug.Radiopharmaceutical = "18F-Fluorocholine"
        code = drug.RadiopharmaceuticalCodeSequence[0]
        code.CodeValue, code.CodeMeaning = "C-B1043", "Fluorocholine F^18^"

    scan.edit("PET", change)


def put_metal(scan: Scan) -> None:
    """A filling of a tooth, 6 mm wide, as a CT of 12 bits shows it, in three slices at the lesion."""
    centre = lesion_centre(scan.folder)

    def change(values: np.ndarray, data: pydicom.FileDataset) -> np.ndarray:
        x, y, z = (float(v) for v in data.ImagePositionPatient)
        if abs(z - centre[2]) > 4.6:
            return values
        row, column = (np.round((centre[:2][::-1] - [y, x]) / data.PixelSpacing)).astype(int)
        values[row - 1 : row + 2, column - 1 : column + 2] = 3071 - float(data.RescaleIntercept)
        return values

    scan.edit_pixels("CT", change)


FAULTS: dict[str, tuple[Callable[[Scan], None], str]] = {
    "PET shifted by 15 mm": (
        shift_pet,
        r"register: the PET fits the CT better when it is moved by 1[2-8] mm",
    ),
    "weight x 10": (weigh_ten_times, r"suv: .*weight"),
    "cut lesion": (cut_lesion, r"crop: the crop (holds|cuts)"),
    "failed registration": (turn_upside_down, r"register: (no alignment|similarity to the template)"),
    "PET mirrored against the CT": (mirror_pet, r"register: the PET fits the CT better when it is mirrored"),
    "wrong half-life": (half_life_of_carbon, r"suv: .*half-life"),
    "missing slices": (lose_slices, r"(index|convert): .*slices?"),
    "no attenuation correction": (leave_uncorrected, r"(index|suv): .*attenuation"),
    "other tracer": (inject_choline, r"index: PET: the tracer is '18F-Fluorocholine'"),
    "metal": (put_metal, r"crop: .* mL of the crop's CT lie at 3000 HU and above"),
}
"""Name → how it is planted, and what must be said of it, where."""


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DICOM of two phantoms, and the template of the second."""
    root = tmp_path_factory.mktemp("planted")
    for patient in (PATIENT, TEMPLATE):
        write_patient(patient, PhantomSettings(), root / patient)
    template = root / "stages" / TEMPLATE
    index_patient(PatientFiles(TEMPLATE, root / TEMPLATE / "dicom"), IndexSettings(), template / "i", "stop")
    convert_patient(template / "i", root / "converted" / TEMPLATE, ConvertSettings(), "stop")
    choose_template([root / "converted" / TEMPLATE], root / "template", REGISTRATION, 1)
    return root


def said_of(images: Path, root: Path, out: Path) -> list[str]:
    """Everything that the stages say of a patient, `stage: text` each; the crop lies at the template's lesion."""
    x, y, z = (float(v) for v in lesion_centre(root / TEMPLATE / "dicom"))
    at_lesion = CropSettings(shape=(24, 24, 24), spacing_mm=(4.0, 4.0, 4.0), centre_mm=(z, y, x))
    stages = {name: out / name / PATIENT for name in ("index", "convert", "suv", "contours", "registration")}
    index_patient(PatientFiles(PATIENT, images), IndexSettings(), stages["index"], "exclude")
    convert_patient(stages["index"], stages["convert"], ConvertSettings(), "exclude")
    suv_patient(stages["convert"], stages["suv"], SuvSettings(), "exclude")
    sources = ContourSources(PATIENT, stages["index"], stages["convert"], stages["suv"], "", images)
    contours_patient(sources, stages["contours"], CONTOURS, "exclude")
    registered = RegistrationSources(PATIENT, stages["convert"], root / "template")
    register_patient(registered, stages["registration"], REGISTRATION, "exclude")
    crop = out / "crops" / f"{PATIENT}.zarr"
    sources_of_crop = CropSources(
        PATIENT, stages["convert"], stages["suv"], stages["contours"], stages["registration"]
    )
    crop_patient(sources_of_crop, crop, at_lesion, "exclude")
    states = [*(read_status(folder) for folder in stages.values()), crop_status(crop)]
    said = dict.fromkeys(f"{s.stage}: {s.problem}" for s in states if s.state != "ok")
    record = stages["suv"] / "suv.json"
    flags = json.loads(record.read_text())["flags"] if record.is_file() else []
    return [*said, *(f"suv: {flag}" for flag in flags)]


@pytest.fixture
def scan(clean: Path, tmp_path: Path) -> Iterator[Scan]:
    shutil.copytree(clean / PATIENT / "dicom", tmp_path / "dicom")
    yield Scan(tmp_path / "dicom")
    shutil.rmtree(tmp_path / "dicom")


@pytest.mark.nightly
@pytest.mark.parametrize("name", FAULTS)
def test_every_planted_fault_is_flagged_or_refused(
    name: str, clean: Path, scan: Scan, tmp_path: Path
) -> None:
    plant, expected = FAULTS[name]
    plant(scan)
    said = said_of(scan.folder, clean, tmp_path / "out")
    assert any(re.match(expected, text, re.DOTALL | re.IGNORECASE) for text in said), said


@pytest.mark.nightly
def test_nothing_is_said_of_the_same_patient_without_a_fault(clean: Path, tmp_path: Path) -> None:
    assert said_of(clean / PATIENT / "dicom", clean, tmp_path / "out") == []
