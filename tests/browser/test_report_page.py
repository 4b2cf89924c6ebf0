"""The report's pages in a real browser: nothing overflows, every image loads, nothing is fetched, tables work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium, needs_browser

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]

WIDTHS = (390, 768, 1400)
# Pages and the least number of images on them.
PAGES = {"index.html": 9, "quality.html": 8, "patients/A1.html": 0}
LOADED = """Promise.all([...document.images].map(i => {
  i.loading = 'eager';
  return i.decode().then(() => i.src, () => null);
}))"""
STRETCHED = """[...document.images].filter(i => Math.abs(i.width / i.height
  - i.getAttribute('width') / i.getAttribute('height')) > 0.02).map(i => i.src)"""
TABLE = "document.querySelector('[aria-label=Discrimination]')"
MODELS = f"[...{TABLE}.querySelectorAll('tbody:first-of-type th[scope=row]')].map(c => c.textContent)"
FOLDED = "document.querySelector('.times').closest('.table')"
SHOWN_TIMES = f"""[...new Set([...{FOLDED}.querySelectorAll('td[data-time]')]
  .filter(c => c.offsetWidth).map(c => c.dataset.time))]"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_page_is_whole(browser: Chromium, report: Path, page: str, width: int) -> None:
    """It does not overflow, images load undistorted, nothing is fetched, no hostile script ran."""
    browser.open(report / page, width)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    images = browser.evaluate(LOADED)
    assert len(images) >= PAGES[page] and None not in images
    assert browser.evaluate(STRETCHED) == []
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    assert not [url for url in browser.requested() if not url.startswith(("file:", "data:"))]
    assert browser.evaluate("document.title") != "taken"


def test_a_table_sorts_within_its_sets(browser: Chromium, report: Path) -> None:
    browser.open(report / "index.html", 1400)
    head = f"[...{TABLE}.querySelectorAll('thead th')].find(c => c.textContent === 'C-index')"
    as_written = browser.evaluate(MODELS)
    values = f"[...{TABLE}.querySelectorAll('tbody:first-of-type td:nth-child(2)')].map(c => parseFloat(c.textContent))"
    before = browser.evaluate(values)
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert browser.evaluate(values) == sorted(before)
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(values) == sorted(before, reverse=True)
    assert browser.evaluate(f"{TABLE}.querySelector('.group').textContent.trim()") == "External"
    browser.evaluate(f"{head}.querySelector('button').click()")
    assert browser.evaluate(MODELS) == as_written


def test_a_table_folds_by_time_but_not_in_print(browser: Chromium, report: Path) -> None:
    browser.open(report / "index.html", 1400)
    times = browser.evaluate(f"[...{FOLDED}.querySelectorAll('.times button')].map(b => b.dataset.show)")
    assert times[0] == "" and len(times) > 2
    browser.evaluate(f"{FOLDED}.querySelector('.times button').click()")
    assert browser.evaluate(SHOWN_TIMES) == times[1:]
    browser.evaluate(f"[...{FOLDED}.querySelectorAll('.times button')].at(-1).click()")
    assert browser.evaluate(SHOWN_TIMES) == times[-1:]
    browser.call("Emulation.setEmulatedMedia", media="print")
    assert browser.evaluate(SHOWN_TIMES) == times[1:]
    browser.call("Emulation.setEmulatedMedia", media="")


def test_a_table_is_searched(browser: Chromium, report: Path) -> None:
    browser.open(report / "index.html", 1400)
    box = "document.querySelector('[aria-label=\"All metrics\"]').closest('.table')"
    shown = f"[...{box}.querySelectorAll('tbody tr:not([hidden])')].map(r => r.textContent)"
    everything = browser.evaluate(shown)
    browser.evaluate(f"{box}.querySelector('input').value = 'AUC'")
    browser.evaluate(f"{box}.querySelector('input').dispatchEvent(new Event('input'))")
    found = browser.evaluate(shown)
    assert found == [row for row in everything if "auc" in row.lower()] and found
    count = browser.evaluate(f"{box}.querySelector('.count').textContent")
    assert count == f"{len(found)} of {len(everything)}"


def test_the_viewer_shows_volumes_and_blends(browser: Chromium, report: Path) -> None:
    browser.open(report / "patients" / "A1.html", 1400)
    status = "document.querySelector('#viewer [role=status]').textContent"
    browser.evaluate("document.querySelector('#viewer button').click()")
    browser.wait_for(f"!['', 'loading …'].includes({status})")
    assert browser.evaluate(status).startswith("Scroll")
    viewer = "document.getElementById('viewer').viewer"
    names = browser.evaluate(f"{viewer}.volumes.map(v => v.name)")
    kinds = ("ct", "pet", "saliency", "manual", "predicted")
    assert names == [f"{kind}.nii.gz" for kind in kinds]
    browser.evaluate("document.querySelector('.controls input').value = 0.9")
    browser.evaluate("document.querySelector('.controls input').dispatchEvent(new Event('input'))")
    assert browser.evaluate(f"{viewer}.volumes[1].opacity") == pytest.approx(0.9)
    before = browser.evaluate(f"[...{viewer}.scene.crosshairPos]")
    browser.evaluate("document.querySelector('canvas').scrollIntoView({ behavior: 'instant' })")
    box = browser.evaluate(
        "(r => [r.x + r.width / 8, r.y + r.height / 2])(document.querySelector('canvas').getBoundingClientRect())"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=box[0], y=box[1])
    scroll = {"type": "mouseWheel", "x": box[0], "y": box[1], "deltaX": 0, "deltaY": 120}
    browser.call("Input.dispatchMouseEvent", **scroll)
    browser.wait_for(
        f"JSON.stringify([...{viewer}.scene.crosshairPos]) !== '{json.dumps(before, separators=(',', ':'))}'"
    )
    assert browser.complaints() == []
    assert not [url for url in browser.requested() if not url.startswith(("file:", "data:", "blob:"))]


def test_print_opens_what_is_closed_and_cuts_nothing(browser: Chromium, report: Path) -> None:
    browser.open(report / "index.html", 1047)  # A4 landscape less its margins, in CSS pixels
    browser.call("Emulation.setEmulatedMedia", media="print")
    cut = "[...document.querySelectorAll('.landscape .scroll')].filter(b => b.scrollWidth > b.clientWidth + 1).length"
    assert browser.evaluate(cut) == 0
    hidden = "[...document.querySelectorAll('details table')].filter(t => !t.offsetHeight).length"
    assert browser.evaluate(hidden) == 0
    browser.call(
        "Emulation.setDeviceMetricsOverride", width=703, height=900, deviceScaleFactor=1, mobile=False
    )
    cut = cut.replace(".landscape .scroll", ".table:not(.landscape) .scroll")
    assert browser.evaluate(cut) == 0
    browser.call("Emulation.setEmulatedMedia", media="")
