"""The contract of `detections.parquet`."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.tables.detections import read_detections, write_detections
from tests.metrics.test_detection import table


def test_the_contract(tmp_path):
    path = tmp_path / "detections.parquet"
    write_detections(path, table())
    pd.testing.assert_frame_equal(read_detections(path), table())
    for column, wrong, message in (
        ("x2", 0.0, "boxes are empty"),
        ("y1", np.nan, "boxes are empty"),
        ("score", 1.5, "not between 0 and 1"),
        ("source", "guessed", "unknown source"),
        ("contour", False, "manual boxes and no contour"),
    ):
        broken = table()
        broken.loc[3 if column != "contour" else 0, column] = wrong
        with pytest.raises(TableError, match=message):
            write_detections(path, broken)
    with pytest.raises(TableError, match="has written no boxes"):
        read_detections(tmp_path / "none.parquet")
