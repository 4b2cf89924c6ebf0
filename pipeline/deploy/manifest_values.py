"""Kinds of values that a bundle's manifest is checked for: finite numbers, names once each, encoders that fit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from pipeline.settings.base import Section
from pipeline.tables.clinical import ClinicalEncoder


class Finite(Section):
    """A section without NaN and infinity."""

    model_config = ConfigDict(allow_inf_nan=False)


def require_ascending(values: Sequence[float], name: str, *, equal_allowed: bool = False) -> None:
    """Refuse numbers that do not rise.

    Raises:
        ValueError: A value is below the one before it, or, unless `equal_allowed`, equal to it.
    """
    if any(
        later < earlier or (later == earlier and not equal_allowed) for earlier, later in pairwise(values)
    ):
        raise ValueError(f"{name} must {'not fall' if equal_allowed else 'rise, each value once'}")


def unique_names(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names that are empty or stand twice."""
    if len(set(values)) != len(values) or not all(values):
        raise ValueError("names must be given once each, and none may be empty")
    return values


def require_encoder(encoder: ClinicalEncoder) -> ClinicalEncoder:
    """Refuse an encoder whose columns are not each a number or a text, or whose SD is negative."""
    unique_names(encoder.order)
    both = set(encoder.numbers) & set(encoder.levels)
    if both or set(encoder.order) != set(encoder.numbers) | set(encoder.levels):
        raise ValueError("order must name each column of numbers and levels once")
    if any(not all(abs(v) < float("inf") for v in triple) for triple in encoder.numbers.values()):
        raise ValueError("median, mean and SD of a clinical column must be finite")
    if any(deviation < 0 for _, _, deviation in encoder.numbers.values()):
        raise ValueError("the SD of a clinical column must not be negative")
    for name, levels in encoder.levels.items():
        require_sorted_levels(levels, name)
    return encoder


def require_sorted_levels(levels: tuple[str, ...], name: str) -> None:
    """Refuse levels that are not sorted, or stand twice."""
    if list(levels) != sorted(set(levels)):
        raise ValueError(f"levels of {name} must be sorted, each once")


Names = Annotated[tuple[str, ...], AfterValidator(unique_names)]
Encoder = Annotated[ClinicalEncoder, AfterValidator(require_encoder)]
Channels = Annotated[tuple[Literal["pet", "ct"], ...], Field(min_length=1), AfterValidator(unique_names)]
# A network may have been trained on images of other kinds; a bundle's own are those above.
NetworkChannels = Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(unique_names)]
Shape = tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]]
Spacing = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]
