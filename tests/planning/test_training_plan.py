"""What training will do, as `plan.json` says it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.planning.made_up import plan, without_outcomes


def test_a_plan_that_chooses_nothing_on_test_patients_has_no_caveat(tmp_path: Path) -> None:
    plan(tmp_path, without_outcomes(9), folds=3, validation_fraction=0)
    assert json.loads((tmp_path / "plan.json").read_text())["caveats"] == []
