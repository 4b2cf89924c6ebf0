"""CLEAR has 58 items and METRICS 30; each has a state, and a place where the report answers it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.report.checklist import AUTHORS, DONE, NOT_DONE
from pipeline.report.radiomics_checklists import NOT_APPLICABLE, RadiomicsKind, clear, metrics_items
from tests.report.test_checklist import WHOLE

EVERYTHING = RadiomicsKind(
    study=WHOLE,
    features=True,
    networks=True,
    masks=True,
    stability=True,
    redundant=True,
    explained=True,
    simple=True,
    one_modality=True,
)


def test_every_item_stands_once_in_order_with_a_state_and_a_place() -> None:
    """Kocak et al. 2023, Table 1: 58 items; Kocak et al. 2024, Table 1: 30 items."""
    nothing = replace(
        EVERYTHING,
        **dict.fromkeys(
            (
                "features",
                "networks",
                "masks",
                "stability",
                "redundant",
                "explained",
                "simple",
                "one_modality",
            ),
            False,
        ),
        study=replace(WHOLE, **dict.fromkeys(("survival", "external", "several_centres", "clinical"), False)),
    )
    for kind in (EVERYTHING, nothing):
        for table, items in ((clear(kind), 58), (metrics_items(kind), 30)):
            assert list(table["Item"]) == [str(number) for number in range(1, items + 1)]
            assert set(table["State"]) <= {AUTHORS, DONE, NOT_DONE, NOT_APPLICABLE}
            assert (table.loc[table["State"] == DONE, "Where"] != "").all()


@pytest.mark.parametrize(
    ("change", "clear_item", "metrics_item", "state"),
    [
        ({"stability": False}, "31", "14", NOT_DONE),
        ({"explained": False}, "43", "", NOT_DONE),
        ({"features": False}, "23", "12", NOT_APPLICABLE),
        ({"masks": False}, "", "9", NOT_APPLICABLE),
        ({"study": replace(WHOLE, clinical=False)}, "48", "24", NOT_DONE),
        ({"study": replace(WHOLE, external=False)}, "", "27", NOT_DONE),
        ({"study": replace(WHOLE, several_centres=False)}, "", "4", NOT_DONE),
        ({"simple": False}, "", "25", NOT_DONE),
        ({"one_modality": False}, "", "23", NOT_DONE),
    ],
)
def test_what_a_study_lacks_is_not_said_to_be_done(
    change: dict[str, object], clear_item: str, metrics_item: str, state: str
) -> None:
    lacking = replace(EVERYTHING, **change)  # type: ignore[arg-type]
    for make, item in ((clear, clear_item), (metrics_items, metrics_item)):
        if item:
            before, after = (
                make(kind).set_index("Item").loc[item, "State"] for kind in (EVERYTHING, lacking)
            )
            assert (before, after) == (DONE, state)


def test_what_only_authors_know_is_left_to_them() -> None:
    states = clear(EVERYTHING).set_index("Item")["State"]
    assert {states[item] for item in ("1", "8", "10", "14", "20", "50")} == {AUTHORS}
    # No network's robustness is measured, whatever the study.
    assert metrics_items(EVERYTHING).set_index("Item").loc["17", "State"] == NOT_DONE
