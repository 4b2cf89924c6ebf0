"""Over forty hostile inputs: each a status or one message, within 2 GB and 20 s (the table: tests.dicom.hostile)."""

import pytest

from tests.dicom.hostile import MOST_MIB, MOST_SECONDS, attempt, measured
from tests.dicom.hostile_inputs import INPUTS


def test_there_are_more_than_forty():
    assert len(INPUTS) >= 40


@pytest.mark.parametrize(
    "name", [name for name in INPUTS if name.startswith(("NIfTI: c", "NIfTI: n", "table"))]
)
def test_small_inputs_end_in_a_status(tmp_path, name):
    assert attempt(name, tmp_path / "in").split(":")[0] in ("excluded", "refused")


@pytest.mark.nightly
@pytest.mark.parametrize("name", INPUTS)
def test_each_stays_within_memory_and_time(tmp_path, name):
    outcome = measured(name, tmp_path)
    assert outcome.state in ("ok", "warned", "excluded", "refused"), outcome
    assert outcome.mib <= MOST_MIB and outcome.seconds <= MOST_SECONDS, outcome
