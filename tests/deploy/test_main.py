"""The command line of bundles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.deploy.__main__ import main
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
