"""Pictures of the demo's report: its first screen as it is, and once more with numbers beside what is explained.

python -m pipeline.pictures.report_pictures results/phantom/report docs/images     (`make pictures` does)
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import MachineError

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTH, HEIGHT = 1180, 760
PLAIN, ANNOTATED = "report.png", "report_annotated.png"


@dataclass(frozen=True)
class Note:
    """What a number of the annotated picture stands for.

    Attributes:
        element: CSS selector of what the number stands beside.
        words: The explanation, one sentence.
    """

    element: str
    words: str


NOTES = (
    Note(
        "header p.note",
        "What the study can and cannot say, from `study.note`; it stands on every figure, too.",
    ),
    Note(
        "header .facts",
        "How many patients and events, and the headline model's C-index with its 95 % interval.",
    ),
    Note(
        "#verdict .question",
        "The one comparison that was chosen beforehand: is the model better than a simple one?",
    ),
    Note("#verdict .answers", "The answer by set, with intervals, and whether probabilities are right."),
    Note("#verdict .doubts", "What weakens the answer; all other comparisons are exploratory."),
    Note("#cohort figure", "Who was in the table, who was left out and at which stage."),
    Note("#cohort .table", "Tables sort and fold; each can be had as CSV and LaTeX."),
)


def annotated(page: str) -> str:
    """The report's HTML with a number beside each element of `NOTES`.

    Args:
        page: The report's HTML.
    """
    rules = "".join(
        f"{note.element}{{position:relative;outline:2px solid #e8590c;outline-offset:3px}}"
        f'{note.element}::after{{content:"{number}";position:absolute;right:4px;top:-14px;width:28px;height:28px;'
        "border-radius:14px;background:#e8590c;color:white;font:bold 17px/28px Helvetica,Arial,sans-serif;"
        "text-align:center;z-index:9}"
        for number, note in enumerate(NOTES, start=1)
    )
    return page.replace("</head>", f"<style>{rules}</style></head>", 1)


def picture_of(page: Path, out: Path, height: int = HEIGHT) -> None:
    """Let a browser without a window draw the top of a page.

    Args:
        page: The HTML file.
        out: The PNG; what is there is replaced.
        height: Number of pixels from the top.

    Raises:
        MachineError: There is no browser, or it drew nothing.
    """
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise MachineError(
            "there is no browser to draw pages with",
            expected=f"one of {', '.join(BROWSERS)}",
            action="install one (Debian: apt-get install chromium)",
        )
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "page.png")
        call = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        call += [f"--window-size={WIDTH},{height}", f"--screenshot={made}", page.resolve().as_uri()]
        done = subprocess.run(call, capture_output=True, text=True, timeout=300, check=False)
        if not made.is_file():
            last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise MachineError("the browser drew nothing", where=str(page), got=last)
        shutil.copyfile(made, out)


def draw_report(report: Path, images: Path) -> None:
    """Write both pictures.

    Args:
        report: Folder of a finished report; a page is put beside its own while it is drawn.
        images: Folder of the pictures.
    """
    page, beside = report / "index.html", report / ".annotated.html"
    picture_of(page, images / PLAIN)
    try:
        beside.write_text(annotated(page.read_text(encoding="utf-8")), encoding="utf-8")
        picture_of(beside, images / ANNOTATED, height=1420)
    finally:
        beside.unlink(missing_ok=True)


if __name__ == "__main__":
    draw_report(Path(sys.argv[1]), Path(sys.argv[2]))
