"""The verdict above a prediction's numbers."""

from __future__ import annotations

from pipeline.deploy.answerable import answerable
from pipeline.deploy.flags import Flag


def test_notes_do_not_doubt() -> None:
    verdict = answerable([Flag("note", "SUV", "half-life assumed")], 40)
    assert verdict.answer == "yes" and "40 development patients" in verdict.text


def test_reasons_are_counted() -> None:
    flags = [
        Flag("warning", "out of domain", "a"),
        Flag("warning", "SUV", "b"),
        Flag("warning", "out of domain", "c"),
    ]
    verdict = answerable(flags, 40)
    assert verdict.answer == "doubtful"
    assert verdict.text.startswith("With doubt: 3 warnings (out of domain (2), SUV).")


def test_nothing_is_said_of_a_tumour_that_was_not_found() -> None:
    import numpy as np

    from pipeline.deploy.predict import _mask_flags

    flags = _mask_flags(np.zeros((2, 3, 4), dtype=bool))
    assert answerable([*flags, Flag("warning", "SUV", "b")], 40).answer == "no"
