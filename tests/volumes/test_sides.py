"""Letters of the patient's sides."""

from __future__ import annotations

from pipeline.volumes.sides import side_letters


def test_letters_follow_the_axes() -> None:
    """LPS: x grows to the left, y to the back, z to the head."""
    assert side_letters(((1, 0, 0), (0, 1, 0), (0, 0, 1))) == (("F", "H"), ("A", "P"), ("R", "L"))
    turned = side_letters(((-1, 0, 0), (0, 1, 0), (0, 0, -1)))
    assert turned == (("H", "F"), ("A", "P"), ("L", "R"))
    oblique = side_letters(((0.6, 0, 0.8), (0, 1, 0), (-0.8, 0, 0.6)))
    assert oblique == (("", ""), ("A", "P"), ("", ""))
