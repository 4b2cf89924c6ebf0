"""Where a patient's id stands: in names of files, and in what files say."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

PLAIN = frozenset({".json", ".csv", ".html", ".svg", ".log", ".tsv", ".txt", ".md", ".yaml", ".rst", ""})
"""Endings of files whose text is searched."""
BINARY = frozenset({".pt", ".pkl", ".py"})
"""Endings of files whose bytes are searched: strings lie in them as they are."""
WORDS = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class PatientSearch:
    """Looks for one patient among others.

    Attributes:
        patient: The id.
        others: Ids of other patients, of which some may contain this one's.
    """

    patient: str
    others: frozenset[str]

    @classmethod
    def of(cls, patient: str, others: Collection[str]) -> PatientSearch:
        """The search for a patient beside others, who must not be taken for the same."""
        return cls(patient, frozenset(others) - {patient})

    @cached_property
    def _longer(self) -> list[str]:
        """Other ids that contain this one; their names are taken for theirs."""
        return [other for other in self.others if self.patient in other]

    def _in_word(self, word: str) -> bool:
        """Whether a word is the id, or the id joined to others by underscores: `registration_P1`."""
        return _joined(self.patient, word) and not any(_joined(other, word) for other in self._longer)

    def in_text(self, text: str) -> bool:
        """Whether a text names the patient, as a word of its own or joined to others by underscores."""
        if self.patient not in text:
            return False
        words = {word for word in WORDS.findall(text) if self.patient in word}
        if self.patient.isdigit():
            return self.patient in words
        return any(map(self._in_word, words))

    def in_file(self, path: Path) -> bool:
        """Whether a file says the patient's id; of images, volumes and arrays only names are looked at.

        An id of digits only is looked for where ids stand, and not among all numbers of a text.
        """
        if path.suffix == ".parquet":
            return self._in_table(path)
        if path.suffix in BINARY:
            return self.in_text(path.read_bytes().decode("latin-1"))
        if path.suffix not in PLAIN:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
        if not self.patient.isdigit():
            return self.in_text(text)
        return self._in_cells(text) if path.suffix == ".csv" else self._in_json(text)

    def _in_table(self, path: Path) -> bool:
        import pandas as pd

        try:
            table = pd.read_parquet(path).reset_index()
        except (OSError, ValueError):  # half written
            return self.in_text(path.read_bytes().decode("latin-1"))
        texts = table.select_dtypes(exclude=["number", "bool"])
        return any(self.in_text(str(value)) for name in texts for value in texts[name])

    def _in_cells(self, text: str) -> bool:
        import csv

        rows = list(csv.DictReader(text.splitlines()))
        return any(row.get(key) == self.patient for row in rows for key in ("patient_id", "Patient"))

    def _in_json(self, text: str) -> bool:
        try:
            return self._in_value(json.loads(text))
        except ValueError:
            return False

    def _in_value(self, value: Any) -> bool:
        if isinstance(value, dict):
            return any(self._in_value(part) for pair in value.items() for part in pair)
        if isinstance(value, list):
            return any(map(self._in_value, value))
        return isinstance(value, str) and self.in_text(value)


def _joined(patient: str, word: str) -> bool:
    return f"_{patient}_" in f"_{word}_"
