"""The bundle's identity and model card on the study's page."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import DamageError
from pipeline.report.bundle import packed_bundle
from pipeline.report.job import ReportJob
from pipeline.report.page import ReportContent, Texts, render
from pipeline.settings.root import load_settings

MANIFEST = '{"format": 5}\n'
IDENTITY = hashlib.sha256(MANIFEST.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "manifest.json").write_text(MANIFEST)
    (tmp_path / "ID").write_text(f"{IDENTITY}\n")
    (tmp_path / "MODEL_CARD.md").write_text("# Model card <b>& more")
    return tmp_path


def test_a_report_without_bundle_shows_none() -> None:
    assert packed_bundle(None) is None


def test_identity_and_card_are_read(folder: Path) -> None:
    bundle = packed_bundle(folder)
    assert bundle is not None and bundle.identity == IDENTITY and bundle.card.startswith("# Model card")


@pytest.mark.parametrize("name", ["ID", "manifest.json", "MODEL_CARD.md"])
def test_a_bundle_without_one_of_its_files_is_damaged(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(DamageError, match=name):
        packed_bundle(folder)


def test_a_manifest_that_its_identity_does_not_name_is_damaged(folder: Path) -> None:
    (folder / "manifest.json").write_text(MANIFEST.replace("5", "6"))
    with pytest.raises(DamageError, match=r"manifest\.json"):
        packed_bundle(folder)


def test_the_page_shows_both(folder: Path) -> None:
    (folder / "flow.svg").write_text('<svg width="10pt" height="10pt"></svg>')
    settings = load_settings(
        {
            "study": {"name": "small"},
            "cohort": {"table": "t.csv"},
            "models": {"volume": {"kind": "feature"}},
        }
    )
    job = ReportJob(folder, settings, "0" * 16, ())
    shown = render(job, content(packed_bundle(folder)), Texts([], []), folder, "index.html")
    assert f"<code>{IDENTITY}</code>" in shown and f"--expect {IDENTITY[:12]}" in shown
    assert "# Model card &lt;b&gt;&amp; more" in shown
    assert "Model card" not in render(job, content(None), Texts([], []), folder, "index.html")


def content(bundle) -> ReportContent:
    import pandas as pd

    from pipeline.report.page_table import Table

    made = ReportContent(bundle=bundle, figures={"flow": "flow.svg"})
    for name in ("cohort", "tripod_ai"):
        made.add_table(name, Table(name, pd.DataFrame({"a": ["1"]})))
    return made
