"""Stacks of a tilted gantry, resampled onto a rectangular grid."""

import itertools

import numpy as np
import pytest

from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings
from pipeline.tables.status import read_status
from tests.dicom.volume.convert_helpers import convert, ct_of, moved
from tests.dicom.write_dicom import Recipe, write_series

TILT = np.tan(np.radians(10.0))


def test_a_tilted_gantry_is_made_straight_where_allowed(tmp_path):
    """Truth: every slice shows the same oblique rod, defined in the patient's coordinates (LPS mm)."""
    recipe = Recipe(spacing=(2.0, 1.0, 1.0), intercept=-1024.0)
    z, y, x = np.mgrid[0:15, 0:40, 0:30].astype(float)
    # Slice n lies 2·tan(10°)·n mm further along y; a smooth field in y and x is linear nearly everywhere.
    world_y = y + recipe.origin[1] + z * 2.0 * TILT
    values = (1000 + 20 * (world_y - recipe.origin[1]) + 5 * x).round().astype(np.uint16)
    folder = write_series(tmp_path / "in", values, recipe, moved(lambda n: (0, n * 2.0 * TILT, 0)))
    with pytest.raises(DicomError, match="gantry_tilt: resample"):
        convert(folder, tmp_path / "a")
    out = convert(folder, tmp_path / "b", settings=ConvertSettings(gantry_tilt="resample"))
    assert "tilt of 10.0°" in read_status(out).problem
    volume = ct_of(out)
    assert volume.array.shape == (15, 45, 30)  # 14 · 2 · tan 10° = 4.94 mm wider
    for k, j, i in itertools.product((0, 7, 14), (8, 20, 35), (1, 15, 28)):
        place = volume.grid.points([k, j, i])[0]
        truth = 1000 + 20 * (place[1] - recipe.origin[1]) + 5 * (place[0] - recipe.origin[0]) - 1024
        assert volume.array[k, j, i] == pytest.approx(truth, abs=1.0)
    # Nothing was imaged beyond the slices' own edges: least value of the stack.
    assert volume.array[14, 0, 0] == volume.array.min() == values.min().astype(int) - 1024
