"""A log-rank test needs groups of a few patients each."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.metrics.risk_groups import logrank_of


@pytest.mark.parametrize(("high", "tested"), [(1, False), (4, False), (5, True)])
def test_a_group_of_a_few_patients_has_no_logrank_test(high, tested):
    """Of ten patients the first to have the event, alone in his group: χ² = Σ(O − E)²/V with
    O = 1, E = 1/10, V = 9/100 is 9, p = 0.003, but by chance he is the first one time in ten.
    """
    time, group = np.arange(1.0, 11.0), np.where(np.arange(10) < high, 2, 1)
    predictions = SimpleNamespace(outcome=SimpleNamespace(time=time, event=np.ones(10, dtype=int)))
    test = logrank_of(predictions, group)
    assert np.isfinite(test.p_value) == np.isfinite(test.chi_square) == tested
    assert (
        f"groups of {10 - high}, {high} patients" in test.note and ("no log-rank test" in test.note) != tested
    )
