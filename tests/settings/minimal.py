"""The least that a study must say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

LEAST: dict[str, dict[str, Any]] = {
    "study": {"name": "some"},
    "cohort": {"table": "some.csv"},
    "models": {"volume": {"kind": "feature"}},
}


def study(**sections: Any) -> dict[str, Any]:
    """A study with a name, a table and one model, and the sections given; a name and a table stay."""
    merged: dict[str, Any] = {**LEAST, **sections}
    for name in ("study", "cohort"):
        if isinstance(merged[name], Mapping):
            merged[name] = {**LEAST[name], **merged[name]}
    return merged
