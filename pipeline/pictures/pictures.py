"""`docs/images/*.svg`: pictures that follow from the code's own tables and answers.

    python -m pipeline.pictures.pictures     writes them (`make settings` does)

A test draws them again and compares, so that no picture says what the code no longer does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.pictures.folds_picture import draw_folds
from pipeline.pictures.rule_graph import draw_rule_graph
from pipeline.pictures.suv_tree import draw_suv_tree
from pipeline.provenance import ROOT

FOLDER = Path("docs", "images")
PICTURES: dict[str, Callable[[], str]] = {
    "rule_graph.svg": draw_rule_graph,
    "folds.svg": draw_folds,
    "suv_tree.svg": draw_suv_tree,
}
"""File → what draws it."""


def main() -> None:
    """Write all pictures into the checkout."""
    for name, draw in PICTURES.items():
        path = ROOT / FOLDER / name
        path.write_text(draw(), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
