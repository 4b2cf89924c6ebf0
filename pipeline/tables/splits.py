"""Folds: `splits.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

FoldSet = Literal["train", "validation", "test", "external"]


@dataclass(frozen=True)
class Fold:
    """Patient ids of one fold; the three sets are disjoint and cover the development set."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True)
class Splits:
    """All folds and the external patients."""

    folds: tuple[Fold, ...]
    external: tuple[str, ...]
    seed: int

    def sets(self, fold: int) -> dict[FoldSet, tuple[str, ...]]:
        """Patients of each set as one fold sees them."""
        one = self.folds[fold]
        return {"train": one.train, "validation": one.validation, "test": one.test, "external": self.external}


def write_splits(path: Path, splits: Splits) -> None:
    """Write folds as JSON."""
    path.write_text(json.dumps(asdict(splits), indent=1) + "\n", encoding="utf-8")


def read_splits(path: Path) -> Splits:
    """Read folds from JSON."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    folds = tuple(Fold(*(tuple(f[name]) for name in ("train", "validation", "test"))) for f in raw["folds"])
    return Splits(folds, tuple(raw["external"]), raw["seed"])
