"""The checklist covers TRIPOD+AI's items, and the bibliography what was used."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from pipeline.report.checklist import DONE, NOT_DONE, StudyKind, tripod_ai
from pipeline.report.references import bibliography, cited_keys, entries
from pipeline.settings.root import load_settings
from tests.settings.minimal import study

WHOLE = StudyKind(survival=True, external=True, images=True, several_centres=True, clinical=True)


def numbers(items: list[str]) -> set[int]:
    return {int(re.match(r"\d+", item)[0]) for item in items}


def test_every_item_has_a_row() -> None:
    """The statement has 27 numbered items."""
    table = tripod_ai(WHOLE)
    assert numbers(table["Item"]) == set(range(1, 28))
    assert table["Item"].is_unique
    assert (table[table["State"] == DONE]["Where"] != "").all()


@pytest.mark.parametrize(
    ("change", "item"), [({"external": False}, "16"), ({"several_centres": False}, "12d")]
)
def test_what_a_study_lacks_is_not_done(change: dict[str, bool], item: str) -> None:
    state = tripod_ai(replace(WHOLE, **change)).set_index("Item").loc[item, "State"]
    assert state == NOT_DONE and tripod_ai(WHOLE).set_index("Item").loc[item, "State"] == DONE


def test_without_survival_nothing_of_it_is_named() -> None:
    text = tripod_ai(replace(WHOLE, survival=False)).to_string()
    assert not [word for word in ("Verdict", "events", "recalibration") if word in text]


def test_sources_follow_the_models() -> None:
    lasso = load_settings(study(models={"lasso": {"kind": "lasso_cox"}}))
    keys = cited_keys(lasso, survival=True)
    assert {"tibshirani1997", "zwanenburg2020", "austin2020", "simon2011"} <= set(keys)
    assert not {"ishwaran2008", "paszke2019", "adebayo2018"} & set(keys)
    assert "kaplan1958" not in cited_keys(lasso, survival=False)
    text = bibliography(lasso, survival=True)
    assert text.count("\n") == len(keys) and all(f"{{{key}," in text for key in keys)


def test_every_source_is_a_whole_entry() -> None:
    for key, entry in entries().items():
        assert re.fullmatch(r"[a-z]+\d{4}[a-z]*", key), key
        assert entry.count("{") == entry.count("}") and entry.endswith("}}"), key
        assert "title={" in entry and "year={" in entry and "author={" in entry, key
