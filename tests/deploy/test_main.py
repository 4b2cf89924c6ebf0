"""The command line of bundles."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import zipfile
from pathlib import Path

import pytest

from pipeline.__main__ import main
from pipeline.deploy import command
from pipeline.deploy.bundle_files import read_bundle
from pipeline.deploy.preprocess import STAGES, NewPatient, _convert
from pipeline.tables.status import read_status
from tests.deploy.scans import write_scan
from tests.deploy.synthetic_bundle import write_bundle_folder

GIVEN = ("--clinical", "clinical_age=60", "--clinical", "clinical_stage=III")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_bundle_folder(tmp_path / "bundle")


def test_show_says_what_is_needed(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--bundle", str(bundle)]) == 0
    output = capsys.readouterr().out
    assert "clinical_age, clinical_stage" in output and "a patient's image" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clinical", "clinical_age=60"), "not those the bundle needs.*clinical_stage="),
        (("--clinical", "clinical_age"), "once as NAME=VALUE"),
        ((*GIVEN, "--clinical", "clinical_age=61"), "once as NAME=VALUE"),
        ((*GIVEN, "--name", "../up"), "must be letters, digits"),
        ((*GIVEN, "--name", "a b"), "must be letters, digits"),
        ((*GIVEN, "--out", "{full}"), "output folder is not empty"),
        ((*GIVEN, "--keep-work", "{full}"), "output folder is not empty"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("keep")
    given = [text.replace("{full}", str(tmp_path / "full")) for text in arguments]
    call = ["predict", "--bundle", str(bundle), "--images", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main([*call, *given]) == 1
    output = capsys.readouterr().err
    assert re.search(message, output) and output.startswith("error: ") and output.count("\n") == 1
    assert (tmp_path / "full" / "other.txt").read_text() == "keep" and not (tmp_path / "out").exists()


def test_a_terminated_prediction_leaves_no_images(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster ends jobs by SIGTERM; the temporary folder holds identified DICOM."""
    made = []

    def predicting(_bundle: object, _patient: object, work: Path, _compute: object) -> None:
        (work / "index").mkdir()
        made.append(work)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(command, "predict_patient", predicting)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as end:
            main(
                [
                    "predict",
                    "--bundle",
                    str(bundle),
                    "--images",
                    str(tmp_path),
                    "--out",
                    str(tmp_path / "o"),
                    *GIVEN,
                ]
            )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert end.value.code == 143 and made and not made[0].exists()


def test_a_zip_and_a_relative_folder_for_the_stages(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "scan")
    (tmp_path / "images").mkdir()
    with zipfile.ZipFile(tmp_path / "images" / "a.zip", "w") as archive:
        for number, path in enumerate(sorted(p for p in (tmp_path / "scan").rglob("*") if p.is_file())):
            archive.write(path, f"DOE_JANE/{number}.dcm")
    monkeypatch.chdir(tmp_path)
    work = Path("kept")
    folders = {stage: work / stage / "P001" for stage in STAGES}
    _convert(read_bundle(bundle).manifest, NewPatient("P001", Path("images"), "", {}), folders)
    assert read_status(folders["convert"]).state in ("ok", "warned")
    assert (folders["convert"] / "pet_stored.nii.gz").is_file()
