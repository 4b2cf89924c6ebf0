"""Encoding of clinical columns as numbers, learned from training patients only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pipeline.errors import TableError

if TYPE_CHECKING:
    import pandas as pd

MOST_NUMBERS = 10
"""A text column with more different numbers than this is taken for a column of numbers with a word in it."""


@dataclass(frozen=True)
class ClinicalEncoder:
    """Imputation, standardisation and levels of clinical columns.

    Numbers: missing values become the training median, then (x − mean) / SD of training patients;
    0 for all patients where training patients do not differ, since nothing is learned of other
    values. Text: one indicator per level of the training patients but the most frequent one;
    other levels, and missing values, are encoded as the most frequent one.

    Attributes:
        numbers: Column → (median, mean, SD), SD 0 where training patients do not differ.
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
            TableError: A column is not in the cohort table, holds an infinite number, or holds
                numbers with a word among them.
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
                filled = _finite(values, name)
                median = float(filled.median()) if filled.notna().any() else 0.0
                filled = filled.fillna(median)
                mean, deviation = float(filled.mean()), float(filled.std(ddof=0))
                # Rounding gives equal numbers a spread of some 1e-16 of their size.
                varies = deviation > 1e-9 * max(abs(mean), 1e-300)
                numbers[name] = (median, mean, deviation if varies else 0.0)
            else:
                _require_levels(values, name)
                counts = values.dropna().astype(str).value_counts()
                # Ties in frequency are broken by name, so that the reference level is stable.
                ranked = sorted(counts.index, key=lambda level: (-int(counts[level]), level))
                levels[name] = tuple(sorted(ranked[1:]))
        return cls(numbers, levels, tuple(columns))

    def names(self) -> list[str]:
        """Names of the encoded columns."""
        names: list[str] = []
        for name in self.order:
            names.extend([name] if name in self.numbers else [f"{name}={v}" for v in self.levels[name]])
        return names

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        """Encode patients: a float64 column per name, with the index of the table."""
        import pandas as pd

        columns: dict[str, Any] = {}
        for name in self.order:
            if name in self.numbers:
                median, mean, deviation = self.numbers[name]
                filled = _finite(table[name], name).fillna(median)
                columns[name] = (filled - mean) / deviation if deviation > 0 else 0.0 * filled
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


def _finite(values: pd.Series, name: str) -> pd.Series:
    """Numbers as float64; infinite ones are refused."""
    numbers = values.astype(float)
    infinite = [str(p) for p in numbers.index[numbers.abs() == float("inf")]]
    if infinite:
        raise TableError(
            f"column {name!r} holds an infinite number",
            where=f"patient {', '.join(infinite[:5])}",
            expected="a number, or a blank where it is not known",
            action="correct the cohort table",
        )
    return numbers


def _require_levels(values: pd.Series, name: str) -> None:
    """Refuse a column of numbers with a word in it: as text it would have as many levels as values."""
    import pandas as pd

    text = values.dropna().astype(str)
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.nunique() <= MOST_NUMBERS:
        return
    words = sorted(set(text[numbers.isna()]))
    raise TableError(
        f"column {name!r} holds numbers and words",
        where="clinical columns of a model",
        expected="numbers, blank where one is not known; or text of few levels",
        got=f"{numbers.nunique()} different numbers, and {', '.join(map(repr, words[:5])) or 'a word elsewhere'}",
        action="leave the words blank in the cohort table, or name the levels by words",
    )
