"""The picture in README shows the finished demo's report as it looks today; `make pictures` takes it anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.pictures.report_pictures import HEIGHT, PLAIN, WIDTH, picture_of
from tests.browser.chromium import needs_browser

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "results" / "phantom" / "report" / "index.html"
PICTURE = ROOT / "docs" / "images" / PLAIN
SMALL = (118, 76)
"""Size at which pictures are compared: fonts differ between machines, boxes and figures do not."""
MEAN_GREY, SHARE_APART = 4.0, 0.03
"""Mean difference in grey levels (of 255), and share of pixels 40 levels apart, that are allowed."""


def difference(first: Path, second: Path) -> tuple[float, float]:
    """Mean difference of two pictures at the small size, and the share of pixels that are 40 levels apart."""
    from PIL import Image

    values = []
    for path in (first, second):
        with Image.open(path) as picture:
            values.append(np.asarray(picture.convert("L").resize(SMALL), dtype=float))
    apart = np.abs(values[0] - values[1])
    return float(apart.mean()), float((apart > 40).mean())


@needs_browser
@pytest.mark.finished
@pytest.mark.xdist_group("browser")
@pytest.mark.skipif(not REPORT.exists(), reason="no finished demo: run make demo")
def test_the_picture_is_the_report_of_today(tmp_path: Path) -> None:
    picture_of(REPORT, tmp_path / PLAIN)
    mean, share = difference(tmp_path / PLAIN, PICTURE)
    assert mean <= MEAN_GREY and share <= SHARE_APART, "the report looks otherwise: run make pictures"


def test_another_page_is_told_from_the_picture(tmp_path: Path) -> None:
    """A page that begins elsewhere is not taken for the same; one with other numbers is."""
    from PIL import Image

    with Image.open(PICTURE) as picture:
        assert picture.size == (WIDTH, HEIGHT)
        values = np.asarray(picture.convert("L")).copy()
    numbers = values.copy()
    numbers[205:225, 30:800] = 60
    moved = np.roll(values, -200, axis=0)
    for name, changed, same in (("numbers", numbers, True), ("moved", moved, False)):
        Image.fromarray(changed).save(tmp_path / f"{name}.png")
        mean, share = difference(tmp_path / f"{name}.png", PICTURE)
        assert (mean <= MEAN_GREY and share <= SHARE_APART) == same, (name, mean, share)
