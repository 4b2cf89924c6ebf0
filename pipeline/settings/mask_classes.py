"""Classes of a mask: the lesions that a study tells apart, by value of a mask file or by name of an ROI."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.settings.base import Section

MAX_CLASSES = 16
MAX_VALUE = 255
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
RESERVED = frozenset({"agg", "agg_mean", "all", "background", "lesion", "mask", "mean", "pet", "ct", "union"})
"""Names that columns and features have already."""

ClassEntry = int | str | tuple[str, ...]
"""A value in mask files, or a pattern or several of ROI names."""


class MaskClassSettings(Section):
    """Which lesions of a mask are told apart."""

    classes: dict[str, ClassEntry] = Field(
        default_factory=dict,
        description="Lesions that are told apart, in the order of their labels 1, 2, …: `{name: value}`, the value of "
        "each in mask files, or `{name: pattern}`, the names of its ROIs (several patterns as a list; in NIfTI "
        "folders the names of its files). Empty: a voxel is lesion or not.",
    )
    class_overlap: Literal["refuse", "first"] = Field(
        "refuse",
        description="What happens where contours of several classes hold one voxel: the patient is refused, or the "
        "voxel belongs to the class that `classes` names first, with a warning.",
    )

    @field_validator("classes", mode="before")
    @classmethod
    def _values_or_patterns(cls, given: Any) -> Any:
        for name, entry in given.items() if isinstance(given, Mapping) else ():
            if not _is_value(entry) and not _is_pattern(entry):
                raise ValueError(
                    f"{name}: must be the class's value in mask files, 1 to {MAX_VALUE}, or a pattern of ROI names, "
                    f"got {entry!r}"
                )
        return given

    @field_validator("classes")
    @classmethod
    def _classes_are_told_apart(cls, classes: dict[str, ClassEntry]) -> dict[str, ClassEntry]:
        if len(classes) > MAX_CLASSES:
            raise ValueError(f"at most {MAX_CLASSES} classes, got {len(classes)}")
        for name in classes:
            if not _NAME.fullmatch(name) or name in RESERVED or name.startswith("agg_"):
                raise ValueError(
                    f"a class is named {name!r}; names are lower-case letters, digits and _, begin with a letter, "
                    f"and are none of {', '.join(sorted(RESERVED))}, agg_…"
                )
        values = [value for value in classes.values() if isinstance(value, int)]
        if values and len(values) < len(classes):
            raise ValueError("classes are named by values or by patterns of ROI names, not by both")
        if len(set(values)) < len(values):
            raise ValueError("two classes have one value")
        return classes

    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their labels from 1; empty: lesion or not."""
        return tuple(self.classes)

    def class_values(self) -> dict[str, int]:
        """Values of the classes in mask files; empty where classes are named by patterns."""
        return {name: entry for name, entry in self.classes.items() if isinstance(entry, int)}

    def class_patterns(self) -> dict[str, tuple[str, ...]]:
        """Patterns of ROI names of the classes; empty where classes are named by values."""
        return {
            name: (entry,) if isinstance(entry, str) else entry
            for name, entry in self.classes.items()
            if not isinstance(entry, int)
        }


def _is_value(entry: Any) -> bool:
    return isinstance(entry, int) and not isinstance(entry, bool) and 1 <= entry <= MAX_VALUE


def _is_pattern(entry: Any) -> bool:
    """Whether an entry is a text, or a list of texts, none of them blank."""
    patterns = [entry] if isinstance(entry, str) else entry
    is_list = isinstance(patterns, list | tuple) and len(patterns) > 0
    return is_list and all(isinstance(text, str) and text.strip() for text in patterns)
