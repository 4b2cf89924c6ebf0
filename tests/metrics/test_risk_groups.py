"""A log-rank test needs groups of a few patients each."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.metrics.risk_groups import cross_validated_logrank, logrank_of
from pipeline.metrics.time_dependent import SurvivalOutcome


@pytest.mark.parametrize(("high", "tested"), [(1, False), (4, False), (5, True)])
def test_a_group_of_a_few_patients_has_no_logrank_test(high, tested):
    """Of ten patients the first to have the event, alone in his group: χ² = Σ(O − E)²/V with
    O = 1, E = 1/10, V = 9/100 is 9, p = 0.003, but by chance he is the first one time in ten.
    """
    time, group = np.arange(1.0, 11.0), np.where(np.arange(10) < high, 2, 1)
    predictions = SimpleNamespace(outcome=SurvivalOutcome.of(time, np.ones(10)))
    test = logrank_of(predictions, group)
    assert np.isfinite(test.p_value) == np.isfinite(test.chi_square) == tested
    assert (
        f"groups of {10 - high}, {high} patients" in test.note and ("no log-rank test" in test.note) != tested
    )


def two_groups(time, event, high):
    """Predictions of patients of whom the last `high` are in group 2, and their groups."""
    outcome = SurvivalOutcome.of(np.asarray(time, float), np.asarray(event, float))
    return SimpleNamespace(outcome=outcome), np.where(np.arange(len(time)) < len(time) - high, 1, 2)


def test_a_reversed_order_is_not_significant():
    """The higher group lives longer: χ² is the same, and says nothing for the model."""
    time = np.arange(1.0, 41.0)
    wrong = logrank_of(*two_groups(time, np.ones(40), 20))
    right = logrank_of(*two_groups(time[::-1], np.ones(40), 20))
    assert right.chi_square == pytest.approx(wrong.chi_square) and right.p_value < 1e-4
    assert wrong.p_value == 1 and "order is reversed" in wrong.note


def test_events_with_one_group_at_risk_alone_have_no_test():
    """All events fall after the last patient of the other group: O − E = 0 with variance 0."""
    time, event = np.r_[np.arange(1.0, 11), np.arange(20.0, 40)], np.r_[np.zeros(10), np.ones(20)]
    test = logrank_of(*two_groups(time, event, 20))
    assert np.isnan(test.p_value) and "patients of two groups at risk" in test.note


def test_nine_events_have_no_test():
    assert (
        logrank_of(*two_groups(np.arange(1.0, 41), np.arange(40) < 9, 20)).note == "9 events: not estimated"
    )


def test_rows_of_one_group_have_no_test():
    """Every patient twice: χ² would double. Of eight volumes with the event, 16 rows are no ten events."""
    time, high = np.repeat(np.arange(40.0, 0, -1), 2), np.repeat(np.arange(40) >= 20, 2)
    volume = np.repeat(np.array([f"v{i}" for i in range(40)], dtype=object), 2)
    for events, note in ((40, "no p-value: rows of one group are not independent"),
                         (8, "8 groups with an event: not estimated")):  # fmt: skip
        event = np.repeat(np.arange(40) < events, 2).astype(float)
        outcome = SurvivalOutcome.of(time, event, volume)
        test = logrank_of(SimpleNamespace(outcome=outcome), 1 + high)
        assert np.isnan(test.p_value) and np.isnan(test.chi_square) and test.note == note
        one_each = outcome.of_members(np.arange(80) % 2 == 0)
        assert one_each.few_events_reason() == ("" if events == 40 else "8 events: not estimated")
        assert one_each.dependent_rows_reason() == ""
    assert np.isfinite(logrank_of(*two_groups(np.arange(40.0, 0, -1), np.ones(40), 20)).p_value)


def test_cross_validated_groups_have_the_p_value_of_permutations_or_none():
    test = logrank_of(*two_groups(np.arange(40.0, 0, -1), np.ones(40), 20))
    permutations = {"p_value": 0.35, "permutations": 29, "reason": ""}
    permuted = cross_validated_logrank(test, permutations)
    assert permuted.p_value == 0.35 and "29 permutations" in permuted.note
    for permutations in (None, {"p_value": None, "permutations": 0, "reason": "no p-value: too slow"}):
        untested = cross_validated_logrank(test, permutations)
        assert np.isnan(untested.p_value) and np.isnan(untested.chi_square) and "no p-value" in untested.note
