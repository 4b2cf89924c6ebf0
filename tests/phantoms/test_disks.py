"""The disks of seed paper 000."""

from math import pi

import numpy as np
import pytest
from pydantic import ValidationError

from pipeline.errors import TableError
from pipeline.phantoms.disks import disk_id, disk_image, disk_number, disk_of_row, draw_disk
from pipeline.settings.phantom import DiskSettings

SETTINGS = DiskSettings()


def test_image_is_a_disk_in_white_noise() -> None:
    for number in (1, 2, 3):
        made, disk = disk_image(number, SETTINGS), draw_disk(number, SETTINGS)
        mask, noise = made.mask, made.image - made.mask
        # The number of pixels in a circle errs by about its circumference's square root.
        assert mask.sum() == pytest.approx(pi * disk.radius_px**2, rel=0.01)
        np.testing.assert_allclose(np.argwhere(mask).mean(axis=0), disk.centre_px, atol=0.1)
        assert noise.std() == pytest.approx(0.5, rel=0.02)
        assert noise[mask == 1].mean() == pytest.approx(0, abs=0.05)
        neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
        assert abs(neighbours) < 0.02
        assert not mask[[0, -1]].any()
        assert not mask[:, [0, -1]].any()


def test_time_is_the_scaled_area() -> None:
    disks = [draw_disk(n, SETTINGS) for n in range(1, 501)]
    areas = np.array([pi * d.radius_px**2 for d in disks])
    scaled = np.interp(areas, [pi * 15**2, pi * 50**2], [4, 11])
    np.testing.assert_allclose([d.scaled_area for d in disks], scaled, rtol=1e-9)
    rest = np.array([d.time for d in disks]) - scaled
    assert rest.std() == pytest.approx(0.1, rel=0.12)
    assert abs(rest.mean()) < 0.02


def test_a_perfect_area_gives_0984() -> None:
    # design figure and calculation: 1 − (2/7)·0.1·√2·φ(0) = 0.984 for uniform areas on 4 … 11
    disks = [draw_disk(n, SETTINGS) for n in range(1, 501)]
    time, area = np.array([(d.time, d.scaled_area) for d in disks]).T
    agree = np.sign(time[:, None] - time) == np.sign(area[:, None] - area)
    assert agree[np.triu_indices(500, 1)].mean() == pytest.approx(0.984, abs=0.003)


def test_pure_and_independent_of_the_others() -> None:
    first = disk_image(7, SETTINGS)
    again = disk_image(7, SETTINGS.model_copy(update={"images": 20, "development": 10}))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.time == again.time
    assert not np.array_equal(first.image, disk_image(8, SETTINGS).image)


def test_a_row_gives_its_disk_and_another_generators_table_is_refused() -> None:
    disk = disk_image(3, SETTINGS)
    again = disk_of_row("D0003", round(disk.time, 6), SETTINGS)
    np.testing.assert_array_equal(again.image, disk.image)
    np.testing.assert_array_equal(again.mask, disk.mask)
    with pytest.raises(TableError, match=r"disagree.*row D0003.*disk_table STUDY.yaml"):
        disk_of_row("D0003", disk.time, SETTINGS.model_copy(update={"seed": 8}))
    with pytest.raises(TableError, match="disagree"):
        disk_of_row("D0003", disk.time * 30.4375, SETTINGS)


def test_ids() -> None:
    assert disk_number(disk_id(42)) == 42
    for wrong in ("P001", "D1", "D00001"):
        with pytest.raises(TableError):
            disk_number(wrong)


@pytest.mark.parametrize("number", [0, 501])
def test_numbers_beyond_the_cohort_are_refused(number: int) -> None:
    with pytest.raises(TableError, match="no such disk"):
        disk_image(number, SETTINGS)


def test_a_time_below_zero_is_refused() -> None:
    noisy = DiskSettings(time_noise=1e3)
    with pytest.raises(TableError, match="no positive time"):
        [draw_disk(n, noisy) for n in range(1, 20)]


@pytest.mark.parametrize(
    "change", [{"radius_px": (15.0, 130.0)}, {"radius_px": (20.0, 10.0)}, {"time_range": (-4.0, 3.0)}]
)
def test_impossible_disks_are_refused(change: dict) -> None:
    with pytest.raises(ValidationError):
        DiskSettings(**change)
