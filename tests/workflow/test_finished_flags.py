"""Of the demo's 80 clean phantoms at most four are flagged; `test_planted_faults.py` plants ten faults into one.

Reads `results/phantom` of this checkout (made by `make demo`).
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

RESULTS = Path(__file__).resolve().parents[2] / "results" / "phantom"
pytestmark = [
    pytest.mark.finished,
    pytest.mark.skipif(
        not (RESULTS / "report" / "index.html").exists(), reason="no finished demo: run make demo"
    ),
]
MOST = 4


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_clean_patients_are_left_in_peace(capsys: pytest.CaptureFixture[str]) -> None:
    warned = {row["patient_id"] for row in rows_of(RESULTS / "problems.csv")}
    flagged = {p.parent.name for p in RESULTS.glob("suv/*/suv.json") if json.loads(p.read_text())["flags"]}
    crops = rows_of(RESULTS / "report" / "tables" / "crops.csv")
    reasons = {row["patient_id"]: row["flags"].split("; ") if row["flags"] else [] for row in crops}
    # A low Dice is a failure of the network, and no fault of the scan.
    unusual = {name for name, texts in reasons.items() if any("Dice" not in text for text in texts)}
    networks = {name for name, texts in reasons.items() if any("Dice" in text for text in texts)}
    marked = warned | flagged | unusual
    with capsys.disabled():
        print(f"\n{len(marked)} of {len(crops)} flagged for their data, {len(networks)} for a low Dice")
    assert len(crops) == 80 and len(marked) <= MOST, sorted(marked)


def test_every_pet_lies_on_its_ct() -> None:
    for path in RESULTS.glob("registration/*/quality.json"):
        compared = json.loads(path.read_text())["pet_on_ct"]
        assert compared["shift_mm"] == [0.0, 0.0, 0.0], path
        assert compared["fit_mirrored"] < 0.9 * compared["fit"], path
