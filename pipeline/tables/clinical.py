"""Clinical columns as numbers, learned from training patients only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TableError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ClinicalEncoder:
    """Imputation, standardisation and levels of clinical columns.

    Numbers: missing → training median, then (x − mean) / SD of training patients. Text:
    one indicator per level seen in training but the most frequent one; levels not seen in
    training, and missing values, are the most frequent one.

    Attributes:
        numbers: Column → (median, mean, SD).
        levels: Column → levels with an indicator, sorted.
        order: Columns in the order asked for.
    """

    numbers: dict[str, tuple[float, float, float]]
    levels: dict[str, tuple[str, ...]]
    order: tuple[str, ...]

    @classmethod
    def fit(cls, table: pd.DataFrame, columns: Sequence[str]) -> ClinicalEncoder:
        """Learn from a table of training patients.

        Raises:
            TableError: A column is not in the cohort table.
        """
        numbers: dict[str, tuple[float, float, float]] = {}
        levels: dict[str, tuple[str, ...]] = {}
        for name in columns:
            if name not in table.columns:
                have = [c for c in table.columns if str(c).startswith("clinical_")]
                raise TableError(
                    f"the cohort table has no column {name!r}",
                    where="clinical columns of a model",
                    expected=", ".join(have) or "a column beginning clinical_",
                )
            values = table[name]
            if values.dtype.kind in "fiub":
                filled = values.astype(float)
                median = float(filled.median()) if filled.notna().any() else 0.0
                filled = filled.fillna(median)
                deviation = float(filled.std(ddof=0))
                numbers[name] = (median, float(filled.mean()), deviation if deviation > 1e-12 else 1.0)
            else:
                counts = values.dropna().astype(str).value_counts()
                # Ties in frequency are broken by name, so that the reference level is stable.
                ranked = sorted(counts.index, key=lambda level: (-int(counts[level]), level))
                levels[name] = tuple(sorted(ranked[1:]))
        return cls(numbers, levels, tuple(columns))

    def names(self) -> list[str]:
        """Names of the encoded columns."""
        found: list[str] = []
        for name in self.order:
            found.extend([name] if name in self.numbers else [f"{name}={v}" for v in self.levels[name]])
        return found

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Encode patients: a float64 column per name, index kept."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name in self.order:
            if name in self.numbers:
                median, mean, deviation = self.numbers[name]
                columns[name] = (table[name].astype(float).fillna(median) - mean) / deviation
            else:
                for level in self.levels[name]:
                    columns[f"{name}={level}"] = (table[name].astype(str) == level).astype(float)
        return pd.DataFrame(columns, index=table.index, columns=self.names(), dtype="float64")

    def state(self) -> dict[str, Any]:
        """Plain values, for checkpoints and bundles."""
        return asdict(self)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ClinicalEncoder:
        """Rebuild from :meth:`state`."""
        return cls(
            {k: (v[0], v[1], v[2]) for k, v in state["numbers"].items()},
            {k: tuple(v) for k, v in state["levels"].items()},
            tuple(state["order"]),
        )
