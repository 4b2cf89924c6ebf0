"""The cohort table of the disks."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.phantoms.disk_table import main, write_disk_table
from pipeline.phantoms.disks import disk_image
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
    disk = disk_image(1, SETTINGS)
    assert disk.image.shape == disk.mask.shape == (240, 240)
    assert (disk.image.dtype, disk.mask.dtype) == (np.float32, np.uint8)
    assert disk.time == pytest.approx(table["D0001"].time_days, abs=1e-6)


@pytest.mark.parametrize("study", ["disks", "disks_small", "disks_quick"])
def test_the_committed_table_is_what_its_studies_generate(study: str, tmp_path: Path) -> None:
    settings = load_settings(
        yaml.safe_load((ROOT / "config" / "studies" / "papers" / f"{study}.yaml").read_text())
    )
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
