"""Classes of `label_*` columns: the codes that a study states, and what a network can learn from.

A label is checked as strictly as an event: a network that is trained on 1 and 2 where it expects 0 and 1
still gives a loss and a score, and both are wrong.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.errors import SettingsError, TableError
from pipeline.settings.label_models import LabelModel
from pipeline.settings.models import Model
from pipeline.settings.network import Network
from pipeline.tables.cohort_rows import Row
from pipeline.tables.numbers import is_blank

Codes = Mapping[str, Mapping[str, int]]
FEWEST_SHOWN = 6
"""Number of values that a message lists before it says how many more there are."""


def coded_labels(rows: Sequence[Row], codes: Codes, path: Path) -> list[Row]:
    """Rows with the classes of `cohort.labels` in place of the table's own values; blank stays unknown.

    Args:
        rows: Rows of the cohort table.
        codes: Label column → value in the table → class from 0.
        path: The table, for messages.

    Raises:
        TableError: The table lacks a column, or holds a value that has no code.
    """
    for column, classes in codes.items():
        if column not in rows[0].values:
            raise TableError(
                f"cohort.labels names a column that the table lacks: {column!r}",
                where=str(path),
                expected=", ".join(name for name in rows[0].values if name.startswith("label_"))
                or "a column beginning label_",
            )
        for row in rows:
            text = row.values[column]
            if not is_blank(text) and plain_number(text) not in classes:
                raise TableError(
                    f"column {column!r} has a value without a code",
                    where=f"{path}, line {row.line}",
                    expected=", ".join(map(repr, classes)),
                    got=repr(text[:60]),
                    action=f"correct this row, or add the value to cohort.labels.{column}",
                )
    return [Row(row.line, {**row.values, **_coded(row.values, codes)}) for row in rows]


def _coded(values: Mapping[str, str], codes: Codes) -> dict[str, str]:
    texts = {column: values[column] for column in codes}
    return {
        column: "" if is_blank(text) else str(codes[column][plain_number(text)])
        for column, text in texts.items()
    }


def plain_number(text: str) -> str:
    """A whole number as spreadsheets write it, `1.0`, without its decimals; other text as it is."""
    return text.removesuffix(".0")


def require_label_classes(models: Mapping[str, Model], values: Mapping[str, Sequence[str]]) -> None:
    """Refuse labels of models whose values are not their classes 0, 1, …, or of which a class has nobody.

    Args:
        models: Models of the study.
        values: Texts of each `label_*` column of the cohort table, patient by patient.

    Raises:
        SettingsError: Naming the model, the label, its values, and the setting that gives them classes.
    """
    for name, model in models.items():
        if isinstance(model, LabelModel):
            setting = (f"models.{name}.label", f"models.{name}.classes")
            _require_classes(setting, model.label, values[model.label], model.classes)
        if not isinstance(model, Network) or "labels" not in model.gives():
            continue
        if not model.losses.labels:
            raise SettingsError(
                f"model {name!r} predicts labels, and names none",
                where=f"models.{name}.losses.labels",
                expected=", ".join(sorted(values)) or "a column of the cohort table beginning label_",
            )
        for label in model.losses.labels:
            losses = f"models.{name}.losses"
            setting = (f"{losses}.labels", f"{losses}.classes")
            _require_classes(setting, label, values[label], model.losses.classes)


def _require_classes(setting: tuple[str, str], label: str, texts: Sequence[str], number: int) -> None:
    """Refuse a label that has other values than its classes, or a class of nobody.

    Args:
        setting: Keys of the label and of its number of classes.
        label: Column of the cohort table.
        texts: Its values.
        number: Number of classes.
    """
    known = sorted({plain_number(text) for text in texts if not is_blank(text)})
    classes = [str(each) for each in range(number)]
    example = ", ".join(f"{text}: {each}" for each, text in enumerate(known[:number]))
    expected = f"{', '.join(classes[:-1])} and {classes[-1]}, blank where it is not known"
    shown = ", ".join(map(repr, known[:FEWEST_SHOWN]))
    shown += f" and {len(known) - FEWEST_SHOWN} more" if len(known) > FEWEST_SHOWN else ""
    if strange := [text for text in known if text not in classes]:
        raise SettingsError(
            f"label {label!r} has values that are no class: {', '.join(map(repr, strange[:FEWEST_SHOWN]))}",
            where=setting[0],
            expected=expected,
            got=shown,
            action=f"state the class of each value, e.g. cohort.labels: {{{label}: {{{example}}}}}, or correct "
            f"{setting[1]}",
        )
    if absent := [text for text in classes if text not in known]:
        raise SettingsError(
            f"nobody has class {absent[0]} of label {label!r}",
            where=setting[0],
            expected=expected,
            got=shown or "no patient with a known value",
            action=f"check the column's codes, cohort.labels and {setting[1]}, or leave the label out",
        )
