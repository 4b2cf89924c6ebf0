"""SUV by scanner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.report.style import FigureCanvas
from pipeline.report.suv_histograms import EDGES, MOST_SCANNERS, SuvHistograms, draw_suv_histograms


def test_each_patient_counts_the_same() -> None:
    histograms = SuvHistograms()
    histograms.add("one", np.array([0.1, 0.1, 0.3, 20.0]))
    histograms.add("one", np.array([0.1]))
    histograms.add("", np.array([1.0]))
    histograms.add("one", np.empty(0))
    (name, patients, shares), (unnamed, _, _) = histograms.curves()
    # By hand: (2/4 + 1/1) / 2 below 0.25, (1/4 + 0) / 2 from there to 0.5; 20 lies beyond the axis.
    assert (name, patients, unnamed) == ("one", 2, "scanner not named")
    assert shares[:2] == pytest.approx([0.75, 0.125]) and shares.sum() == pytest.approx(0.875)


def test_many_scanners_share_a_curve() -> None:
    histograms = SuvHistograms()
    for number in range(MOST_SCANNERS + 3):
        histograms.add(f"scanner {number}", np.full(4, 1.0))
    names = [name for name, _, _ in histograms.curves()]
    assert len(names) == MOST_SCANNERS + 1 and names[-1] == "other scanners (3)"
    assert histograms.curves()[-1][1] == 3


def test_the_figure_is_drawn_where_there_is_pet(tmp_path: Path) -> None:
    canvas = FigureCanvas(tmp_path, "")
    assert draw_suv_histograms(SuvHistograms(), canvas) is None
    histograms = SuvHistograms()
    histograms.add("<one> $x", np.linspace(0, EDGES[-1], 50))
    file = draw_suv_histograms(histograms, canvas)
    assert file is not None and "1 patient" in (tmp_path / file).read_text()
