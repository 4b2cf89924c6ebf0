"""Mistakes planted into a study, its table and its images: each is told before anything runs, in one line.

The study without a mistake has no finding, so that each line is the mistake's.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.check.check import check_study
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume
from tests.deploy.scans import write_scan

STUDY = """study:
  name: mine
  title: Mine
cohort:
  source: nifti
  table: {root}/table.csv
  image_root: {root}/images
  nifti_pet_quantity: suvbw
contours: {required: false}
registration: {method: none}
crop:
  centre_mm: [0, 0, 0]
  shape: [32, 32, 32]
  spacing_mm: [2.0, 2.0, 2.0]
radiomics: {feature_set: demo}
plan: {folds: 2, validation_fraction: 0.4}
models:
  net:
    kind: deepmts
    width: 0.125
    clinical: [clinical_age]
  lasso: {kind: lasso_cox}
  volume: {kind: feature, feature: pet_index_volume_ml}
ensembles: {both: [net, lasso]}
training: {batch: 4}
evaluation: {horizons_days: [365.25]}
"""
HEADER = "patient_id,set,image_path,roi,time_days,event,clinical_age"
PATIENTS = 14
Plant = Callable[[Path], None]


def row(number: int) -> str:
    return f"P{number:02d},development,P{number:02d},,{200 + 40 * number},{number % 2},{50 + number}"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study without a mistake, of small NIfTI images."""
    root = tmp_path_factory.mktemp("sound")
    for number in range(PATIENTS):
        folder = root / "images" / f"P{number:02d}"
        folder.mkdir(parents=True)
        grid = Grid((4, 4, 4), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
        for name, quantity in (("ct.nii.gz", "hu"), ("pet.nii.gz", "suvbw")):
            write_nifti(folder / name, Volume(np.ones((4, 4, 4), np.float32), grid, quantity))
    (root / "table.csv").write_text("\n".join([HEADER, *map(row, range(PATIENTS))]) + "\n")
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    shutil.copytree(sound, tmp_path / "study")
    (tmp_path / "study" / "mine.yaml").write_text(STUDY.replace("{root}", str(tmp_path / "study")))
    return tmp_path / "study"


def in_study(old: str, new: str) -> Plant:
    return lambda root: replace(root / "mine.yaml", old, new)


def in_table(old: str, new: str) -> Plant:
    return lambda root: replace(root / "table.csv", old, new)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def spoil_spacing(root: Path) -> None:
    """Write infinity into the spacing of a NIfTI header, `pixdim[1]` and `srow_x[0]`: float32 at bytes 80 and 280."""
    import gzip

    path = root / "images" / "P03" / "pet.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[80:84] = content[280:284] = np.float32(np.inf).tobytes()
    path.write_bytes(gzip.compress(bytes(content)))


def move_pet(root: Path) -> None:
    """Put one patient's PET half a metre beside the CT."""
    grid = Grid((4, 4, 4), (2.0, 2.0, 2.0), (500.0, 0.0, 0.0))
    write_nifti(root / "images/P06/pet.nii.gz", Volume(np.ones((4, 4, 4), np.float32), grid, "suvbw"))


def add_mask_of_another_grid(root: Path) -> None:
    grid = Grid((5, 4, 4), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0))
    write_nifti(root / "images/P03/lesion.nii.gz", Volume(np.ones((5, 4, 4), np.float32), grid, "hu"))
    replace(root / "table.csv", "P03,,320", "P03,lesion.nii.gz,320")


def add_boxes(first: str, patients: int = PATIENTS) -> Plant:
    """Crops in boxes, that of patient P05 at another x."""

    def plant(root: Path) -> None:
        replace(root / "mine.yaml", "centre_mm: [0, 0, 0]", f"position: box\n  boxes: {root}/boxes.csv")
        rows = [f"P{n:02d},{first if n == 5 else '-32,32'},-32,32,-32,32" for n in range(patients)]
        (root / "boxes.csv").write_text("\n".join(["patient_id,x1,x2,y1,y2,z1,z2", *rows]) + "\n")

    return plant


MISTAKES: dict[str, tuple[Plant, str]] = {
    "no such file": (
        lambda root: (root / "mine.yaml").unlink(),
        r"study's file does not exist; where: .*mine.yaml",
    ),
    "a folder instead of the file": (
        lambda root: ((root / "mine.yaml").unlink(), (root / "mine.yaml").mkdir()),
        r"study's file does not exist; where: .*mine.yaml.*got: a folder; what to do: correct the path",
    ),
    "tab": (in_study("  title: Mine", "\ttitle: Mine"), r"mine.yaml, line 3; .*replace the tab by spaces"),
    "missing space": (
        in_study("  title: Mine", "  title:Mine"),
        r"mine.yaml, line 3; .*a space after the colon",
    ),
    "missing space in a group": (
        in_study("contours: {required: false}", "contours:\n  required:false"),
        r"contours must be a group of keys.*space after the colon \(.*line 9\)",
    ),
    "stray line": (in_study("  title: Mine", "  title: Mine\nwhat is this"), r"line 4; .*remove this line"),
    "open bracket": (in_study("[2.0, 2.0, 2.0]", "[2.0, 2.0, 2.0"), r"line 15; .*check this line.*brackets"),
    "misspelt key": (
        in_study("  title:", "  titel:"),
        r"unknown key 'study.titel'; did you mean 'title'\? \(.*line 3\)",
    ),
    "key given twice": (
        in_study("  title: Mine", "  title: A\n  title: B"),
        r"study.title is given twice.*lines 3 and 4",
    ),
    "name of the study": (
        in_study("name: mine", "name: My Study"),
        r"study.name must be 2 to 40 lower-case letters, digits.*line 2\)",
    ),
    "infinite spacing of the crop": (
        in_study("[2.0, 2.0, 2.0]", "[.inf, 2.0, 2.0]"),
        r"crop.spacing_mm must be a finite number.*line 14\)",
    ),
    "size that the network refuses": (
        in_study("[32, 32, 32]", "[30, 32, 32]"),
        r"size does not fit the network 'net' \(deepmts\).*set crop.shape: \[32, 32, 32\]",
    ),
    "crop that no memory holds": (
        in_study("[32, 32, 32]", "[4000, 4000, 4000]"),
        r"more memory than computers have.*596 GiB",
    ),
    "feature that nobody has": (
        in_study("pet_index_volume_ml", "pet_index_volum_ml"),
        r"no feature is named 'pet_index_volum_ml'.*pet_index_volume_ml",
    ),
    "features without radiomics": (
        in_study("radiomics: {feature_set: demo}", "radiomics: {enabled: false}"),
        r"model 'lasso' takes radiomics features, and the study has none",
    ),
    "feature set that is not there": (
        in_study("feature_set: demo", "feature_set: demu"),
        r"no radiomics feature set 'demu'.*demo",
    ),
    "column that nobody has": (
        in_study("[clinical_age]", "[clinical_ag]"),
        r"no column 'clinical_ag'; where: models.net.clinical \(.*line 21\).*did you mean 'clinical_age'",
    ),
    "loss that the network cannot have": (
        in_study("    width: 0.125", "    width: 0.125\n    losses: {reconstruction: 2.0}"),
        r"losses.reconstruction needs the output reconstruction, which this network does not have",
    ),
    "label that nobody has": (
        in_study(
            "  lasso: {kind: lasso_cox}",
            "  lasso: {kind: lasso_cox}\n  grade: {kind: cnn6, outcome: label, losses: {labels: [label_grade]}}",
        ),
        r"no column 'label_grade'; where: models.grade.losses.labels",
    ),
    "model that there is not": (
        in_study("[net, lasso]", "[net, laso]"),
        r"ensemble 'both' names 'laso', which is not among the models",
    ),
    "kind that there is not": (
        in_study("kind: deepmts", "kind: deepmst"),
        r"unknown kind 'deepmst'; did you mean 'deepmts'",
    ),
    "quantity of the PET": (
        in_study("  nifti_pet_quantity: suvbw\n", ""),
        r"must declare what its PET holds.*set it to suvbw",
    ),
    "more folds than patients with an event": (in_study("folds: 2", "folds: 12"), r"no folds can be made"),
    "table that is not there": (
        in_study("table.csv", "tabel.csv"),
        r"cohort table does not exist.*suvival draft",
    ),
    "misspelt column": (in_table(",event,", ",evnt,"), r"unknown name: 'evnt'.*did you mean 'event'"),
    "semicolons": (in_table(",", ";"), r"separated by semicolons.*save it as"),
    "row with a field too many": (in_table("P03,,320", "P03,,320,7"), r"another number of fields.*line 5"),
    "patient twice": (
        in_table("P04,development,P04", "P03,development,P04"),
        r"two rows have the same patient_id: 'P03'",
    ),
    "images of another patient": (
        in_table("P04,development,P04", "P04,development,P03"),
        r"have the same images.*lines 5 and 6",
    ),
    "time with a decimal comma": (
        in_table(",320,", ',"320,5",'),
        r"'time_days' must be a number.*line 5.*a decimal comma",
    ),
    "date for a time": (in_table(",320,", ",2020-01-31,"), r"'time_days' must be a number.*line 5.*a date"),
    "underscore in a time": (
        in_table(",320,", ",3_20,"),
        r"'time_days' must be a number.*a number with an underscore",
    ),
    "digits of another script": (
        in_table(",320,", ",٣٢٠,"),
        r"'time_days' must be a number.*digits of another script",
    ),
    "time without end": (in_table(",320,", ",1e308,"), r"patient P03 would be left out.*longer than a life"),
    "event in words": (in_table(",320,1,", ",320,yes,"), r"'event' must be 0 or 1.*line 5.*'yes'"),
    "events coded 1 and 2": (
        lambda root: (root / "table.csv").write_text(
            re.sub(r"(,\d+),([01]),", lambda m: f"{m[1]},{int(m[2]) + 1},", (root / "table.csv").read_text())
        ),
        r"'event' is coded 1 and 2",
    ),
    "age with a decimal comma": (
        in_table(",1,53", ',1,"53,5"'),
        r"'clinical_age' holds a number with a decimal comma",
    ),
    "word among ages": (
        in_table(",1,53", ",1,old"),
        r"'clinical_age' holds numbers and text.*patient P03.*'old'",
    ),
    "underscore in an age": (
        in_table(",1,53", ",1,5_3"),
        r"'clinical_age' holds numbers and text.*a number with an underscore",
    ),
    "mask that is not there": (
        in_table("P03,,320", "P03,lesion.nii.gz,320"),
        r"a mask file is missing.*patient P03",
    ),
    "folder of all images": (
        in_study("/images", "/image"),
        r"folder of all images is missing.*cohort.image_root",
    ),
    "all folders missing": (
        in_table(",development,P", ",development,Q"),
        r"images of 14 of 14 patients are missing",
    ),
    "no file of the PET": (
        lambda root: (root / "images/P03/pet.nii.gz").unlink(),
        r"no PET file; where: patient P03.*set cohort.nifti_pet",
    ),
    "two files of the CT": (
        lambda root: shutil.copy(root / "images/P03/ct.nii.gz", root / "images/P03/ct_2.nii.gz"),
        r"several CT files; where: patient P03",
    ),
    "a file cut short": (
        lambda root: (root / "images/P05/ct.nii.gz").write_bytes(b"short"),
        r"not a readable image; where: patient P05.*got: 5 bytes; what to do: copy or write the file again",
    ),
    "PET beside its CT": (move_pet, r"CT and PET do not overlap in space; where: patient P06"),
    "mask of another grid": (
        add_mask_of_another_grid,
        r"a mask shares the voxels of neither image; where: patient P03.*lesion.nii.gz",
    ),
    "no mask at all": (
        in_study("{required: false}", "{roi: ['lesion*']}"),
        r"no ROI of any patient has a name that fits.*patient P00.*no mask file",
    ),
    "crop outside of all images": (
        in_study("[0, 0, 0]", "[900, 0, 0]"),
        r"the crop lies outside the images of 14 of 14 patients; where: crop.centre_mm",
    ),
    "box outside of the images": (
        add_boxes("1000,1064"),
        r"the crop lies outside the images of 1 of 14 patients; where: crop.boxes.*patient P05",
    ),
    "box of which the corners are exchanged": (
        add_boxes("32,-32"),
        r"second corner of a box must lie beyond its first corner.*P05.*correct this row",
    ),
    "boxes of some patients": (
        add_boxes("-32,32", patients=12),
        r"table of boxes must have one row per patient.*of 2; .*P12, P13; what to do: add",
    ),
    "boxes that are not there": (
        in_study("centre_mm: [0, 0, 0]", "position: box\n  boxes: nowhere.csv"),
        r"table of boxes does not exist; where: crop.boxes \(.*line 13\)",
    ),
    "template that is not there": (
        in_study("{method: none}", "{template: P99}"),
        r"neither a development patient nor a file; where: registration.template \(.*line 10\)",
    ),
    "only external patients": (
        in_table(",development,", ",external,"),
        r"no patient is of the set development.*column 'set'",
    ),
    "key of another group": (
        in_study("{batch: 4}", "{batch: 4, bootstraps: 500}"),
        r"unknown key 'training.bootstraps'; did you mean 'evaluation.bootstraps'",
    ),
    "word for yes or no": (
        in_study("required: false", "required: maybe"),
        r"contours.required must be true or false, got 'maybe' \(.*line 9\)",
    ),
    "spacing of zero": (
        in_study("[2.0, 2.0, 2.0]", "[0, 2.0, 2.0]"),
        r"crop.spacing_mm.0 must be greater than 0, got 0 \(.*line 14\)",
    ),
    "infinite spacing of an image": (
        spoil_spacing,
        r"(a grid that no image has|not a readable image); where: patient P03.*pet.nii.gz",
    ),
}


def test_the_sound_study_has_no_finding(root: Path) -> None:
    assert [finding.line() for finding in check_study(root / "mine.yaml")] == []


@pytest.mark.parametrize("name", MISTAKES)
def test_a_planted_mistake_is_told_in_one_line(root: Path, name: str) -> None:
    plant, message = MISTAKES[name]
    plant(root)
    lines = [finding.line() for finding in check_study(root / "mine.yaml") if finding.is_error]
    assert len([line for line in lines if re.search(message, line)]) == 1, lines
    # Two models of the study take features.
    assert len(lines) == (2 if name == "features without radiomics" else 1), lines


def test_columns_that_nobody_reads_are_named(root: Path) -> None:
    replace(root / "table.csv", ",clinical_age", ",clinical_stage")
    replace(root / "mine.yaml", "    clinical: [clinical_age]\n", "")
    (finding,) = check_study(root / "mine.yaml")
    assert (
        not finding.is_error
        and "nothing reads these columns" in finding.text
        and "clinical_stage" in finding.text
    )


def test_models_with_nothing_to_learn_from_are_named(root: Path) -> None:
    table = (root / "table.csv").read_text()
    (root / "table.csv").write_text(re.sub(r",\d\d$", ",", table, flags=re.M))
    replace(root / "mine.yaml", "{kind: lasso_cox}", "{kind: lasso_cox, harmonise: combat}")
    blank, centres = (finding.line() for finding in check_study(root / "mine.yaml"))
    assert re.match(r"warning: column 'clinical_age' is blank.*where: models.net.clinical", blank)
    assert re.match(r"warning: model 'lasso' harmonises.*of one; where: models.lasso.harmonise", centres)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    write_scan(folder / "P00")
    return folder / "P00"


@pytest.mark.parametrize(("pattern", "told"), [("GTV*", False), ("Tumour*", True)])
def test_patterns_of_contours_are_held_against_the_names_in_the_files(
    root: Path, scan: Path, pattern: str, told: bool
) -> None:
    shutil.rmtree(root / "images")
    for number in range(PATIENTS):
        (root / "images").mkdir(exist_ok=True)
        (root / "images" / f"P{number:02d}").symlink_to(scan)
    # One patient's folder is enough; links to one folder would be the same images.
    lines = (root / "table.csv").read_text().splitlines()
    (root / "table.csv").write_text("\n".join(lines[:2]) + "\n")
    replace(root / "mine.yaml", "source: nifti", "source: dicom")
    replace(root / "mine.yaml", "contours: {required: false}", f"contours: {{roi: ['{pattern}']}}")
    found = [finding.text for finding in check_study(root / "mine.yaml") if "ROI" in finding.text]
    assert bool(found) is told, found
    if told:
        assert len(found) == 1 and "no ROI of any patient" in found[0] and "correct contours.roi" in found[0]
