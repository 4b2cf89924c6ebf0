"""The pages as a site: each has its place, each link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def pages_of(nav: Any) -> Iterator[str]:
    """Pages of a part of the navigation, in its order."""
    if isinstance(nav, str):
        yield nav
    for part in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from pages_of(part)


def anchors_of(page: Path) -> set[str]:
    """Anchors of a page's headings, as Python-Markdown makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    headings = (re.sub(r"[^\w\s-]", "", title) for title in re.findall(r"^#+ (.*)$", text, re.M))
    named = re.findall(r'<a (?:id|name)="([\w-]+)"', text)
    return {*named, *(re.sub(r"[-\s]+", "-", title.strip().lower()) for title in headings)}


def test_every_page_has_its_place_in_the_navigation_once() -> None:
    site = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert site["strict"] is True
    assert sorted(pages_of(site["nav"])) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_pages_and_headings(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    text = re.sub(r"`[^`\n]*`", "", text)
    wrong = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = ((DOCS / page).parent / name).resolve() if name else DOCS / page
        there = target.is_file() and target.is_relative_to(DOCS)
        if not there or (anchor and target.suffix == ".md" and anchor not in anchors_of(target)):
            wrong.append(link)
    assert not wrong
