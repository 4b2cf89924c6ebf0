"""Numbers and names as printed."""

from __future__ import annotations

from pipeline.report.formatting import (
    TimeAxis,
    display_name,
    format_cell,
    format_interval,
    format_number,
    format_p_value,
    isolated,
)
from pipeline.tables.time_units import horizon_name


def test_a_number_that_rounds_to_zero_has_no_sign() -> None:
    assert format_interval(0.065, -0.0009, 0.14) == "0.065 (0.00 to 0.14)"
    assert format_number(-0.06, 3) == "−0.060"


def test_numbers_as_printed() -> None:
    assert format_interval(0.7123, 0.654, 0.768) == "0.712 (0.65–0.77)"
    assert format_interval(-0.05, -0.2, 0.1) == "−0.050 (−0.20 to 0.10)"
    assert format_interval(0.5, float("nan"), float("nan")) == "0.500"
    assert format_interval(float("nan"), 0.1, 0.2) == "–"
    assert [format_p_value(p) for p in (0.0004, 0.0312, 0.25, 1.0, None)] == [
        "< 0.001",
        "0.031",
        "0.25",
        "1.00",
        "–",
    ]
    assert [format_cell(v) for v in (9.478e-05, -1.2e-12)] == ["9.48 × 10⁻⁵", "−1.20 × 10⁻¹²"]
    assert [format_cell(v) for v in (None, float("nan"), "", 3, 0.000537291, 12345.6)] == [
        "–", "–", "–", "3", "0.0005373", "12346",
    ]  # fmt: skip


def test_time_axes() -> None:
    assert TimeAxis.of("days", 2000).label == "Years"
    assert TimeAxis.of("days", 2000).ticks(2000) == [0, 1, 2, 3, 4, 5]
    assert TimeAxis.of("months", 400).label == "Months"
    assert TimeAxis.of("none", 2000) == TimeAxis(1.0, "Time (no unit)")
    assert TimeAxis.of("none", 6).ticks(6) == [0, 1, 2, 3, 4, 5, 6]
    assert [horizon_name(d, "days") for d in (365.25, 730.5, 182.625)] == ["1 year", "2 years", "6 months"]
    assert [horizon_name(d, "days") for d in (365, 730, 548)] == ["1 year", "2 years", "1.5 years"]
    assert horizon_name(2.0, "none") == "time 2"


def test_text_that_turns_what_follows_is_isolated() -> None:
    assert isolated("Event-free survival") == "Event-free survival"
    assert isolated("\u202esurvival") == "\u2068survival\u2069"
    assert display_name("label_\u05d0\u2069\u202e") == "\u2068label \u05d0\u2069"
