"""ROC curves of class outcomes: a panel per outcome and set, with the area that the table has."""

from xml.etree import ElementTree

import pandas as pd

from pipeline.report.roc_figures import draw_class_roc
from pipeline.report.style import FigureCanvas


def curve(model: str, which: str, outcome: str, area: float) -> pd.DataFrame:
    points = {"false_positive": [0.0, 0.0, 1.0], "true_positive": [0.0, 2 * area - 1, 1.0]}
    shared = {"model": model, "set": which, "outcome": outcome, "horizon": None, "area": area, "patients": 9}
    return pd.DataFrame({**points, **shared})


def test_classes_are_drawn_and_the_event_is_not(tmp_path):
    event = curve("forest", "external", "event", 0.9)
    assert draw_class_roc(event, FigureCanvas(tmp_path, "")) is None
    curves = pd.concat(
        [
            event,
            curve("forest", "external", "label_kind_0", 0.75),
            curve("ridge", "development", "label_kind_1", 0.6),
        ]
    )
    assert draw_class_roc(curves, FigureCanvas(tmp_path, "")) == "roc_classes.svg"
    text = " ".join("".join(ElementTree.parse(tmp_path / "roc_classes.svg").getroot().itertext()).split())
    assert "forest, AUC 0.75" in text and "ridge, AUC 0.60" in text and "AUC 0.90" not in text
    assert "External, kind 0" in text and "Development, kind 1" in text
