"""The benchmark that anybody with a card runs, as far as a processor goes: it must see a difference, too."""

from __future__ import annotations

import pytest

from benchmarks import determinism


@pytest.mark.nightly
@pytest.mark.parametrize("part", ["killed", "refused"])
def test_a_processor_passes(part: str) -> None:
    """Three processes, two of them killed; and plain steps where nothing can be recorded."""
    outcome = determinism.PARTS[part].run("cpu", 300)
    assert outcome.passed, outcome.text


def test_trainings_that_differ_fail() -> None:
    """Also those of which nothing is known."""
    same, other = ["launches one CUDA graph", "digest abc"], ["launches one CUDA graph", "digest abd"]
    assert determinism.compared(same, same).passed
    assert not determinism.compared(same, other).passed
    assert not determinism.compared([], []).passed
