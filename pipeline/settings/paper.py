"""A paper's tables and figures as printed: which model, metric and patients of this study fill each cell.

A study that repeats a paper says so in its section `paper`; the report then has a page of the paper's tables
with this study's numbers beside the printed ones. A study at a smaller size names the file of another study
instead (`paper: config/studies/papers/deepmts.yaml`) and has the paper's section of that file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from pipeline.errors import SettingsError
from pipeline.settings.base import Section

CellSet = Literal["train", "validation", "test", "development", "external"]
"""Patients of a cell. `development`: each patient's one held-out prediction, with its interval; `external`:
the averaged folds, with interval; `train`, `validation`, `test`: each run's own, averaged over the runs."""
Spread = Literal["interval", "sd_of_runs", "se_of_runs", "sd_of_patients"]
KEY = re.compile(r"^[a-z][a-z0-9_]*$")
SUBGROUP = r"^([a-z][A-Za-z0-9_]*=.+)?$"
GIVEN_BY = (
    (
        re.compile(r"^(c_index|auc_|brier|observed_expected|ibs|calibration_|royston|logrank)"),
        frozenset({"risk"}),
    ),
    (re.compile(r"^(dice|pixel_|hd95|assd)"), frozenset({"mask"})),
    (re.compile(r"^label_\w+"), frozenset({"labels"})),
    (re.compile(r"^average_precision"), frozenset({"detection"})),
)
"""Beginning of a metric's name, as in `metrics.csv`, and what a model must predict to have it."""

PER_PATIENT = re.compile(r"^(dice(?!_agg(_|$))|hd95|assd)")
"""Beginning of metrics that are means or medians of a score of each patient, so that it has an SD over patients.
Aggregated Dice has none: its sums are over patients."""


def predicted_for(metric: str) -> str:
    """What a model must predict to have a metric: `risk`, `mask`, `labels` or `detection`; empty: unknown."""
    return next((name for pattern, names in GIVEN_BY for name in names if pattern.match(metric)), "")


class CellSource(Section):
    """Where a cell's number comes from; a row and a column each say a part of it."""

    model: str = Field("", description="Model or ensemble of this study.")
    metric: str = Field(
        "", description="Metric, named as in `metrics.csv` (`c_index`, `dice`, `label_x_auc`, …)."
    )
    set: CellSet | None = Field(
        None,
        description="Patients: `development` (each patient's one held-out prediction), `external`, or of single "
        "runs `train`, `validation`, `test`.",
    )
    each_run: bool | None = Field(
        None, description="With `external`: each run's network alone, averaged over runs, not their ensemble."
    )
    subgroup: str = Field(
        "", pattern=SUBGROUP, description="Patients of one level of a column only, e.g. `label_cancer=lung`."
    )
    fold: int | None = Field(None, ge=0, description="With `test`: this fold alone; the first is 0.")
    spread: Spread | None = Field(
        None,
        description="What stands after our number: the `interval`, or the SD (`sd_of_runs`) or standard error "
        "(`se_of_runs`) over runs, or the SD over patients (`sd_of_patients`; of Dice and the like).",
    )


class PaperColumn(CellSource):
    """A column of a printed table."""

    title: str = Field(description="Heading as printed.")


class PrintedNumber(Section):
    """A number as printed, with its spread."""

    value: float = Field(description="Value as printed.")
    sd: float | None = Field(None, ge=0, description="Standard deviation as printed, if there is one.")
    se: float | None = Field(None, ge=0, description="Standard error as printed, if there is one.")


class PaperRow(CellSource):
    """A row of a printed table."""

    title: str = Field(description="Heading as printed.")
    printed: dict[str, PrintedNumber | None] = Field(
        default_factory=dict,
        description="Column → number as printed, alone or as `{value, sd, se}`; `null`: the paper prints none, ours "
        "is shown; a column that is left out: the cell is empty.",
    )

    @field_validator("printed", mode="before")
    @classmethod
    def _plain_numbers(cls, printed: Any) -> Any:
        if not isinstance(printed, Mapping):
            return printed
        return {k: {"value": v} if isinstance(v, int | float) else v for k, v in printed.items()}


class PrintedPValue(Section):
    """A p-value of a difference between two models, as printed."""

    models: tuple[str, str] = Field(
        description="The two models, the better first; one of `evaluation.comparisons`."
    )
    metric: str = Field("c_index", description="Metric that is compared.")
    set: Literal["development", "external"] = Field("development", description="Patients.")
    printed: str = Field(
        pattern=r"^[<>]? ?0?\.\d+$", description="P-value as printed, e.g. `0.016`, `> 0.05`."
    )


class PaperTable(Section):
    """A printed table."""

    title: str = Field(description="Number and title as printed.")
    columns: dict[str, PaperColumn] = Field(min_length=1, description="Columns by a short key, in order.")
    rows: tuple[PaperRow, ...] = Field(min_length=1, description="Rows in order.")
    p_values: tuple[PrintedPValue, ...] = Field(
        (), description="P-values that the paper prints beside the table."
    )
    note: str = Field("", max_length=1000, description="What a reader has to know of the comparison.")

    @model_validator(mode="after")
    def _cells_are_whole(self) -> PaperTable:
        _require_different(self.title, "rows", [row.title for row in self.rows])
        _require_different(self.title, "columns", [column.title for column in self.columns.values()])
        for row in self.rows:
            unknown = sorted(set(row.printed) - set(self.columns))
            if unknown:
                raise ValueError(
                    f"row {row.title!r} prints columns that the table lacks: {', '.join(unknown)}"
                )
            for key in row.printed:
                self.source(row, key)
        return self

    def source(self, row: PaperRow, column: str) -> CellSource:
        """Where the number of a cell comes from: what its row says and what its column says.

        Raises:
            ValueError: Both say the same thing differently, or model, metric or set is missing.
        """
        said: dict[str, Any] = {}
        for part in (row, self.columns[column]):
            for name in CellSource.model_fields:
                value = part.model_dump()[name]
                if value in ("", None):
                    continue
                if said.setdefault(name, value) != value:
                    raise ValueError(f"row {row.title!r} and column {column!r} differ in {name}")
        missing = [name for name in ("model", "metric", "set") if name not in said]
        if missing:
            raise ValueError(
                f"cell {row.title!r}, {column!r}: neither row nor column says {', '.join(missing)}"
            )
        return CellSource(**said)


def _require_different(table: str, what: str, titles: Sequence[str]) -> None:
    """Pages are keyed by title: of two rows or columns with one, the first would lose its numbers."""
    twice = sorted({title for title in titles if titles.count(title) > 1})
    if twice:
        raise ValueError(
            f"table {table!r} has several {what} with the title {', '.join(map(repr, twice))}; add to each what "
            "tells it apart"
        )


class HistoryPanel(Section):
    """A panel of losses against iterations."""

    title: str = Field(description="Title as printed.")
    models: tuple[str, ...] = Field(min_length=1, description="Networks drawn in one axis.")
    terms: tuple[str, ...] = Field(
        ("loss",), min_length=1, description="Terms of the loss (`cox`, `dice`, …), or `loss`: their sum."
    )
    sets: tuple[Literal["train", "validation"], ...] = Field(
        ("train",), min_length=1, description="Training batches, validation patients, or both."
    )


class PaperFigure(Section):
    """A printed figure that the report draws."""

    title: str = Field(description="Number and title as printed.")
    shows: Literal["histories", "predicted_survival", "explanations", "examples", "kaplan_meier"] = Field(
        "histories",
        description="Losses against iterations (`panels`), or a figure of the report: predicted beside observed "
        "survival, attribution maps, example slices with contours, or Kaplan–Meier curves of risk groups.",
    )
    panels: tuple[HistoryPanel, ...] = Field((), description="With `histories`: the panels.")

    @model_validator(mode="after")
    def _panels_of_histories(self) -> PaperFigure:
        if (self.shows == "histories") != bool(self.panels):
            raise ValueError("panels belong to a figure that shows histories, and only there")
        return self


class PaperSettings(Section):
    """The paper that a study repeats."""

    source: str = Field(max_length=500, description="Authors, title, journal, year.")
    cohort: str = Field("", max_length=500, description="Patients of the paper, as it tells them.")
    note: str = Field("", max_length=1000, description="What differs between this study and the paper.")
    tables: dict[str, PaperTable] = Field(
        default_factory=dict, description="Tables by a short key (`table_2`)."
    )
    figures: dict[str, PaperFigure] = Field(default_factory=dict, description="Figures by a short key.")

    @model_validator(mode="after")
    def _keys_name_files(self) -> PaperSettings:
        for key in (*self.tables, *self.figures):
            if not KEY.match(key):
                raise ValueError(f"key {key!r} names a file: lower-case letters, digits and _ only")
        return self

    def sources(self) -> list[tuple[str, CellSource]]:
        """(where, source) of every cell that shows a number."""
        return [
            (f"paper.tables.{key}, row {row.title!r}, column {column!r}", table.source(row, column))
            for key, table in self.tables.items()
            for row in table.rows
            for column in row.printed
        ]


def with_named_paper(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A study's configuration; the name of another study's file as `paper` becomes that study's section.

    Raises:
        SettingsError: The file cannot be read, or has no such section.
    """
    named = config.get("paper")
    if not isinstance(named, str):
        return config
    try:
        content = yaml.safe_load(Path(named).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(
            "the study file that `paper` names cannot be read",
            where=f"paper: {named}",
            got=str(error).splitlines()[0],
            action="name a study file of this checkout, seen from its top folder",
        ) from None
    section = content.get("paper") if isinstance(content, Mapping) else None
    if not isinstance(section, Mapping):
        raise SettingsError(
            "the study file that `paper` names has no section of that name",
            where=f"paper: {named}",
            action="name the file of a study that lists a paper's tables, e.g. config/studies/papers/deepmts.yaml",
        )
    return {**config, "paper": section}
