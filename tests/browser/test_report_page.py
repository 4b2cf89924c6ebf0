"""The report's pages in a real browser: nothing overflows, every image loads, nothing is fetched."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from pipeline.report.report import build_report
from tests.report.synthetic_study import make_study

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="chromium is not installed")

# Pages and the least number of images on them.
PAGES = {"index": 9, "quality": 1}
# Shown in frames of the two widths: a window of a headless browser is at least 500 px wide.
PROBE = """<!doctype html><body><pre id="measured"></pre><script>
const shown = [390, 1280].flatMap(w => ['index', 'quality'].map(p => [p, w])), measured = {};
let left = shown.length;
for (const [name, width] of shown) {
  const frame = document.createElement('iframe');
  frame.style = `width:${width}px;height:900px;border:0`;
  frame.onload = async () => {
    const page = frame.contentDocument, root = page.documentElement;
    for (const d of page.querySelectorAll('details')) d.open = true;
    await Promise.all([...page.images].map(i => i.decode().catch(() => null)));
    measured[`${name} ${width}`] = {
      inner: frame.contentWindow.innerWidth, scroll: root.scrollWidth, title: page.title,
      images: page.images.length,
      broken: [...page.images].filter(i => !i.naturalWidth).map(i => i.src),
      fetched: frame.contentWindow.performance.getEntriesByType('resource').map(e => e.name),
      stretched: [...page.images].filter(i => Math.abs(i.width / i.height
        - i.getAttribute('width') / i.getAttribute('height')) > 0.02).map(i => i.src),
    };
    if (!--left) document.getElementById('measured').textContent = JSON.stringify(measured);
  };
  frame.src = `${name}.html`;
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("browser")
    report = folder / "report"
    build_report(make_study(folder / "results"), report)
    (report / "probe.html").write_text(PROBE)
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        "--virtual-time-budget=20000", f"--user-data-dir={folder / 'profile'}", "--dump-dom",
        (report / "probe.html").as_uri(),
    ]  # fmt: skip
    browser = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    text = re.search(r'<pre id="measured">(.*?)</pre>', browser.stdout, re.S)
    assert text, browser.stderr[-2000:]
    assert text[1], "the probe did not finish"
    return json.loads(text[1].replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"))


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_page_does_not_overflow(measured: dict[str, dict], page: str, width: int) -> None:
    state = measured[f"{page} {width}"]
    assert state["inner"] == width
    assert state["scroll"] <= width


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("page", PAGES)
def test_every_image_loads_undistorted(measured: dict[str, dict], page: str, width: int) -> None:
    state = measured[f"{page} {width}"]
    assert state["images"] >= PAGES[page]
    assert state["broken"] == []
    assert state["stretched"] == []


def test_nothing_is_fetched_and_no_foreign_script_ran(measured: dict[str, dict]) -> None:
    for state in measured.values():
        assert not [url for url in state["fetched"] if not url.startswith("file:")]
        assert state["title"] != "taken"
