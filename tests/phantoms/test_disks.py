"""The disks of seed paper 000."""

from math import pi
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from pipeline.errors import TableError
from pipeline.phantoms.disk_table import main
from pipeline.phantoms.disks import disk, disk_id, disk_number, disk_of_row, draw_disk, write_disk_table
from pipeline.provenance import ROOT
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.phantom import DiskSettings
from pipeline.settings.root import load_settings
from pipeline.tables.cohort import read_cohort

SETTINGS = DiskSettings()


def test_paper_sizes(tmp_path: Path) -> None:
    # Seed paper 000, section 3: 500 images of 240×240, 80 % training.
    write_disk_table(SETTINGS, tmp_path / "disks.csv")
    table = read_cohort(CohortSettings(table=str(tmp_path / "disks.csv"), time_unit="none"))
    assert (len(table.ids("development")), len(table.ids("external"))) == (400, 100)
    assert all(patient.event == 1 for patient in table.patients)
    image, mask, time = disk(1, SETTINGS)
    assert image.shape == mask.shape == (240, 240)
    assert (image.dtype, mask.dtype) == (np.float32, np.uint8)
    assert time == pytest.approx(table["D0001"].time_days, abs=1e-6)


def test_image_is_a_disk_in_white_noise() -> None:
    for number in (1, 2, 3):
        image, mask, _ = disk(number, SETTINGS)
        one = draw_disk(number, SETTINGS)
        # The number of pixels in a circle errs by about its circumference's square root.
        assert mask.sum() == pytest.approx(pi * one.radius_px**2, rel=0.01)
        np.testing.assert_allclose(np.argwhere(mask).mean(axis=0), one.centre_px, atol=0.1)
        noise = image - mask
        assert noise.std() == pytest.approx(0.5, rel=0.02)
        assert noise[mask == 1].mean() == pytest.approx(0, abs=0.05)
        neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
        assert abs(neighbours) < 0.02
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()


def test_time_is_the_scaled_area() -> None:
    disks = [draw_disk(n, SETTINGS) for n in range(1, 501)]
    areas = np.array([pi * d.radius_px**2 for d in disks])
    scaled = np.interp(areas, [pi * 15**2, pi * 50**2], [4, 11])
    np.testing.assert_allclose([d.scaled_area for d in disks], scaled, rtol=1e-9)
    rest = np.array([d.time for d in disks]) - scaled
    assert rest.std() == pytest.approx(0.1, rel=0.12)
    assert abs(rest.mean()) < 0.02


def test_a_perfect_area_gives_0984() -> None:
    # design figure and calculation: 1 − (2/7)·0.1·√2·φ(0) = 0.984 for uniform areas on 4 … 11
    disks = [draw_disk(n, SETTINGS) for n in range(1, 501)]
    time, area = np.array([(d.time, d.scaled_area) for d in disks]).T
    agree = np.sign(time[:, None] - time) == np.sign(area[:, None] - area)
    assert agree[np.triu_indices(500, 1)].mean() == pytest.approx(0.984, abs=0.003)


def test_pure_and_independent_of_the_others() -> None:
    first, again = disk(7, SETTINGS), disk(7, SETTINGS.model_copy(update={"images": 20, "development": 10}))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[2] == again[2]
    assert not np.array_equal(first[0], disk(8, SETTINGS)[0])


@pytest.mark.parametrize("study", ["disks", "disks_quick"])
def test_the_committed_table_is_what_its_studies_generate(study: str, tmp_path: Path) -> None:
    settings = load_settings(yaml.safe_load((ROOT / "config" / "studies" / f"{study}.yaml").read_text()))
    # Fixed before any network was trained: half the disk's contrast.
    assert settings.disks.noise == 0.5
    write_disk_table(settings.disks, tmp_path / "disks.csv")
    assert (ROOT / settings.cohort.table).read_bytes() == (tmp_path / "disks.csv").read_bytes()


def test_the_command_writes_the_table_of_a_study(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    table = tmp_path / "made" / "disks.csv"
    study = tmp_path / "study.yaml"
    study.write_text(
        f"cohort: {{source: generated, table: {table}}}\ndisks: {{images: 12, development: 8, seed: 3}}\n"
    )
    assert main([str(study)]) == 0
    rows = read_cohort(CohortSettings(table=str(table), time_unit="none"))
    assert (len(rows.ids("development")), len(rows.ids("external"))) == (8, 4)
    assert main([str(tmp_path / "absent.yaml")]) == 1 and "absent.yaml" in capsys.readouterr().err
    assert main([]) == 2
    study.write_text(f"cohort: {{table: {table}}}\n")
    before = table.read_bytes()
    assert main([str(study)]) == 1 and "source dicom" in capsys.readouterr().err
    assert table.read_bytes() == before, "a table of patients is never written over"


def test_a_row_gives_its_disk_and_another_generators_table_is_refused() -> None:
    image, mask, time = disk(3, SETTINGS)
    again = disk_of_row("D0003", round(time, 6), SETTINGS)
    np.testing.assert_array_equal(again[0], image)
    np.testing.assert_array_equal(again[1], mask)
    with pytest.raises(TableError, match=r"disagree.*row D0003.*disk_table STUDY.yaml"):
        disk_of_row("D0003", time, SETTINGS.model_copy(update={"seed": 8}))
    with pytest.raises(TableError, match="disagree"):
        disk_of_row("D0003", time * 30.4375, SETTINGS)


def test_ids() -> None:
    assert disk_number(disk_id(42)) == 42
    for wrong in ("P001", "D1", "D00001"):
        with pytest.raises(TableError):
            disk_number(wrong)


@pytest.mark.parametrize("number", [0, 501])
def test_numbers_beyond_the_cohort_are_refused(number: int) -> None:
    with pytest.raises(TableError, match="no such disk"):
        disk(number, SETTINGS)


def test_a_time_below_zero_is_refused() -> None:
    noisy = DiskSettings(time_noise=1e3)
    with pytest.raises(TableError, match="no positive time"):
        [draw_disk(n, noisy) for n in range(1, 20)]


@pytest.mark.parametrize(
    "change", [{"radius_px": (15.0, 130.0)}, {"radius_px": (20.0, 10.0)}, {"time_range": (-4.0, 3.0)}]
)
def test_impossible_disks_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        DiskSettings(**change)
