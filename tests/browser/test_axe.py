"""Rules of accessibility (axe-core) on the report's pages and on a prediction's page."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.outputs import write_prediction
from pipeline.deploy.predict import Prediction
from tests.browser.chromium import Chromium, needs_browser
from tests.deploy.synthetic_bundle import IDENTITY, make_manifest
from tests.deploy.test_outputs import SHAPE, prediction  # noqa: F401

PACKAGE = importlib.util.find_spec("axe_core_python")
pytestmark = [
    needs_browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(PACKAGE is None, reason="axe-core-python is not installed: run make setup"),
]
PAGES = ("index.html", "quality.html", "patients/A1.html")
VIOLATIONS = """axe.run(document, { resultTypes: ['violations'] }).then(found => found.violations.map(
  rule => `${rule.id}: ${rule.nodes.slice(0, 4).map(node => node.target.join(' ')).join('; ')}`))"""


def violations(browser: Chromium, page: Path, width: int = 1400) -> list[str]:
    """What axe finds on a page, everything that is folded opened."""
    assert PACKAGE is not None and PACKAGE.origin is not None
    browser.open(page, width)
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    browser.evaluate((Path(PACKAGE.origin).parent / "axe.min.js").read_text(encoding="utf-8") + "\n;true")
    found: list[str] = browser.evaluate(VIOLATIONS)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_the_report_breaks_no_rule(browser: Chromium, report: Path, page: str) -> None:
    assert violations(browser, report / page) == []


def test_a_prediction_breaks_no_rule(
    browser: Chromium,
    prediction: Prediction,  # noqa: F811
    tmp_path: Path,
) -> None:
    (tmp_path / "MODEL_CARD.md").write_text("card")
    manifest = make_manifest(shape=SHAPE, source="nifti")
    write_prediction(Bundle(tmp_path, manifest, IDENTITY), prediction, tmp_path / "out")
    assert violations(browser, tmp_path / "out" / "report.html") == []


def test_axe_finds_what_is_broken(browser: Chromium, tmp_path: Path) -> None:
    page = tmp_path / "broken.html"
    page.write_text('<html><head></head><body><img src="a.png"><input></body></html>')
    found = {text.split(":")[0] for text in violations(browser, page)}
    assert {"html-has-lang", "document-title", "image-alt", "label"} <= found
