"""What moves on a patient's page: fixed and moved image take turns, PET over CT blinks, saliency is laid over."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.chromium import Chromium, needs_browser
from tests.browser.conftest import FIXED_GREY, MOVED_GREY

pytestmark = [needs_browser, pytest.mark.xdist_group("browser")]

TURN = "document.querySelector('#blink [role=status]').textContent"
BUTTONS = "document.querySelectorAll('#blink button')"
VIEWER = "document.getElementById('viewer').viewer"
PET, SALIENCY = f"{VIEWER}.volumes[1].opacity", f"{VIEWER}.volumes[2].opacity"


def seen(browser: Chromium, element: str) -> np.ndarray:
    """Pixels (rows, columns, 3) of an element as they are drawn."""
    place = f"(r => [r.x + scrollX, r.y + scrollY, r.width, r.height])(document.querySelector('{element}')"
    x, y, width, height = browser.evaluate(f"{place}.getBoundingClientRect())")
    clip = {"x": x, "y": y, "width": width, "height": height, "scale": 1}
    shot = browser.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
    with Image.open(io.BytesIO(base64.b64decode(shot["data"]))) as picture:
        return np.asarray(picture.convert("RGB"), dtype=np.int16)


def switch(browser: Chromium, name: str, *, on: bool) -> None:
    box = f"document.querySelector('#viewer [name={name}]')"
    browser.evaluate(f"{box}.checked = {str(on).lower()}")
    browser.evaluate(f"{box}.dispatchEvent(new Event('input'))")


def open_viewer(browser: Chromium, report: Path) -> None:
    browser.open(report / "patients" / "A1.html", 1400)
    browser.evaluate("document.querySelector('#viewer button').click()")
    browser.wait_for("document.querySelector('#viewer [role=status]').textContent.startsWith('Scroll')")


def test_the_registration_swaps_by_hand_and_blinks_by_itself(browser: Chromium, report: Path) -> None:
    browser.open(report / "patients" / "A1.html", 1400)
    greys = {"template": FIXED_GREY, "patient, aligned": MOVED_GREY}
    first = browser.evaluate(TURN)
    for _ in range(2):
        shown = browser.evaluate(TURN)
        pixels = seen(browser, "#blink svg")
        assert np.median(pixels) == pytest.approx(greys[shown], abs=3), shown
        browser.evaluate(f"{BUTTONS}[0].click()")
        assert browser.evaluate(TURN) != shown
    assert browser.evaluate(TURN) == first

    browser.evaluate(f"{BUTTONS}[1].click()")
    assert browser.evaluate(f"{BUTTONS}[1].getAttribute('aria-pressed')") == "true"
    browser.wait_for(f"{TURN} !== '{first}'")
    browser.wait_for(f"{TURN} === '{first}'")
    browser.evaluate(f"{BUTTONS}[1].click()")
    assert browser.evaluate(f"{BUTTONS}[1].getAttribute('aria-pressed')") == "false"
    assert browser.complaints() == []


def test_the_viewer_blinks_pet_over_ct(browser: Chromium, report: Path) -> None:
    open_viewer(browser, report)
    assert browser.evaluate(PET) == pytest.approx(0.5)
    switch(browser, "blink", on=True)
    browser.wait_for(f"{PET} === 0")
    browser.wait_for(f"{PET} === 1")
    switch(browser, "blink", on=False)
    assert browser.evaluate(PET) == pytest.approx(0.5)
    assert browser.complaints() == []


def test_saliency_is_laid_over_and_taken_off(browser: Chromium, report: Path) -> None:
    open_viewer(browser, report)
    assert browser.evaluate(f"{VIEWER}.volumes[2].name") == "saliency.nii.gz"
    assert browser.evaluate(SALIENCY) == 0
    without = seen(browser, "#viewer canvas")
    switch(browser, "saliency", on=True)
    assert browser.evaluate(SALIENCY) == pytest.approx(0.6)
    with_map = seen(browser, "#viewer canvas")
    changed = np.abs(with_map - without).max(axis=2) > 20
    # Its colours run from violet to yellow: where it is strongest, blue falls behind green.
    assert changed.mean() > 0.02 and (with_map[..., 1] - with_map[..., 2])[changed].mean() > 0
    switch(browser, "saliency", on=False)
    assert np.abs(seen(browser, "#viewer canvas") - without).max() < 20
    assert browser.complaints() == []


def test_a_patient_without_map_has_no_switch_for_it(browser: Chromium, report: Path) -> None:
    browser.open(report / "patients" / "A2.html", 1400)
    browser.evaluate("document.querySelector('#viewer button').click()")
    browser.wait_for("document.querySelector('#viewer [role=status]').textContent.startsWith('Scroll')")
    assert browser.evaluate("document.querySelector('#viewer [name=saliency]').closest('label').hidden")
