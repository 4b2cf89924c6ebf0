"""The form of every message, and its way across process borders."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.errors import SettingsError, SuvError, TableError
from pipeline.provenance import ROOT


def test_parts_stand_in_order_and_empty_ones_are_left_out() -> None:
    error = SuvError("no dose", where="(0018,1074)", got="nothing", action="ask the scanner's owner.")
    assert str(error) == "no dose; where: (0018,1074); got: nothing; what to do: ask the scanner's owner."
    assert str(TableError("a column is unknown", action="did you mean 'event'?")).endswith("'event'?")


def test_each_wrong_setting_has_a_line_and_a_value_of_a_file_has_none_of_its_own() -> None:
    assert str(SettingsError("settings: a is unknown\nsettings: b is unknown")).splitlines() == [
        "settings: a is unknown", "settings: b is unknown.",
    ]  # fmt: skip
    assert len(str(SuvError("a name\nwith a line")).splitlines()) == 1


def test_an_error_survives_pickling_whole() -> None:
    error = pickle.loads(pickle.dumps(SuvError("no dose", where="P1", expected="Bq")))
    assert isinstance(error, SuvError) and str(error) == "no dose; where: P1; expected: Bq."


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("SuvError('no dose', where='P1')", "error: no dose; where: P1."),
        ("1 / 0", "unexpected ZeroDivisionError"),
    ],
)
def test_a_job_prints_one_line_and_keeps_the_rest_in_its_log(
    tmp_path: Path, raised: str, message: str
) -> None:
    code = "from pipeline.console import job\nfrom pipeline.errors import SettingsError, SuvError\n"
    code += "from types import SimpleNamespace\n"
    code += (
        "with job(SimpleNamespace(log=['job.log'], params={}, input=[], output=[])):\n    print('noise')\n"
    )
    code += f"    raise {raised}\n" if "Error" in raised else f"    {raised}\n"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout == ""
    assert message in done.stderr and len(done.stderr.splitlines()) == 1
    log = (tmp_path / "job.log").read_text()
    assert "noise" in log and ("Traceback" in log) == ("1 / 0" in raised)
