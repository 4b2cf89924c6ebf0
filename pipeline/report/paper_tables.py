"""A paper's tables as printed, with this study's numbers beside the printed ones, for the page and for LaTeX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline.metrics.pairs import FAMILY as LISTED_PAIRS
from pipeline.report.formatting import MISSING, format_interval, format_number, format_p_value, is_known
from pipeline.settings.paper import PaperTable, PrintedPValue

if TYPE_CHECKING:
    import pandas as pd

EMPTY = "/"
NOT_COMPARED = "the study does not compare the two"
"""A cell that the paper leaves empty."""
PUBLISHED, OURS, COUNTED = "published", "ours", "Patients (events) of ours"
SPREADS = {
    "sd_of_runs": "SD over runs",
    "se_of_runs": "standard error over runs",
    "sd_of_patients": "SD over patients",
}
"""Spread after ± → its name in the note."""


def printed_table(table: PaperTable, cells: pd.DataFrame) -> pd.DataFrame:
    """A printed table with two columns, published and ours, for each of its own.

    Args:
        table: The table's settings.
        cells: Its lines of :func:`pipeline.report.paper_cells.read_tables`.

    Returns:
        Text, a row per printed row and a last one with the numbers of patients; columns of two levels.
    """
    import pandas as pd

    found = {(line["row"], line["column"]): line for line in cells.to_dict("records")}
    rows = []
    for row in table.rows:
        line: dict[tuple[str, str], str] = {("", ""): row.title}
        for key, column in table.columns.items():
            cell = found.get((row.title, key)) if key in row.printed else None
            line[column.title, PUBLISHED] = _published(cell) if cell else EMPTY
            line[column.title, OURS] = _ours(cell) if cell else EMPTY
        rows.append(line)
    counted = {("", ""): COUNTED}
    for key, column in table.columns.items():
        counted[column.title, PUBLISHED] = ""
        counted[column.title, OURS] = _counted(cells[cells["column"] == key])
    frame = pd.DataFrame([*rows, counted])
    frame.columns = pd.MultiIndex.from_tuples(frame.columns)
    return frame


def _published(cell: Mapping[Any, Any]) -> str:
    spread = next((cell[name] for name in ("published_sd", "published_se") if is_known(cell[name])), None)
    text = _as_printed(cell["published"])
    return text if spread is None else f"{text} ± {_as_printed(spread)}"


def _as_printed(value: Any) -> str:
    """A printed number with three digits at least, and those beyond that the paper prints."""
    if not is_known(value):
        return MISSING
    digits = len(f"{float(value):g}".partition(".")[2])
    return format_number(value, max(3, digits))


def _ours(cell: Mapping[Any, Any]) -> str:
    if not is_known(cell["ours"]):
        return MISSING
    if is_known(cell["ours_spread"]):
        return f"{format_number(cell['ours'], 3)} ± {format_number(cell['ours_spread'], 3)}"
    return format_interval(cell["ours"], cell["ci_low"], cell["ci_high"])


def _counted(cells: pd.DataFrame) -> str:
    """`60 (31)`, or several such where the cells of a column are of different patients."""
    pairs = [
        f"{line['patients']} ({line['events']})" if line["events"] else line["patients"]
        for line in cells.to_dict("records")
        if line["patients"]
    ]
    return ", ".join(dict.fromkeys(pairs)) or MISSING


def table_note(table: PaperTable, cells: pd.DataFrame, confidence: float, resampled: str = "patients") -> str:
    """What stands behind our numbers, which cells have none and why."""
    known = cells[cells["ours"].notna()]
    parts = [table.note] if table.note else []
    if known["ci_low"].notna().any():
        parts.append(f"Ours in brackets: {confidence:.0%} bootstrap interval over {resampled}.")
    with_spread = known[known["ours_spread"].notna()]
    for name in dict.fromkeys(with_spread["spread"]):
        runs = int(with_spread.loc[with_spread["spread"] == name, "runs"].max())
        parts.append(f"Ours after ±: {SPREADS[name]} ({runs} runs).")
    for line in cells[cells["ours"].isna()].to_dict("records"):
        parts.append(f"{line['row']}, {table.columns[line['column']].title}: {line['note'] or 'no value'}.")
    return " ".join(parts)


def flat(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with one level of column titles, for the page."""
    flattened = frame.copy()
    flattened.columns = [f"{first}, {second}" if second else first for first, second in frame.columns]
    return flattened


def p_value_table(printed: tuple[PrintedPValue, ...], comparisons: pd.DataFrame) -> pd.DataFrame:
    """A row per printed p-value: the pair, the printed one, our difference and p-values, or why there are none.

    Args:
        printed: P-values as printed.
        comparisons: `comparisons.csv`.
    """
    import pandas as pd

    pairs = comparisons[comparisons["family"] == LISTED_PAIRS]
    rows = []
    for entry in printed:
        line = _pair(pairs, entry)
        rows.append(
            {
                "better": entry.models[0],
                "than": entry.models[1],
                "metric": entry.metric,
                "set": entry.set,
                "p_published": entry.printed,
                **{name: line.get(name) for name in ("difference", "ci_low", "ci_high", "p_value", "p_holm")},
                "patients": line.get("patients"),
                "events": line.get("events"),
                "note": line["note"] if line else NOT_COMPARED,
            }
        )
    return pd.DataFrame(rows)


def p_values_left_out(frame: pd.DataFrame) -> str:
    """Which pairs have no p-value of ours, and why; empty where all have one."""
    missing = frame[frame["p_value"].isna()].fillna({"note": "no value"})
    return " ".join(
        f"{line['better']} − {line['than']}, {line['metric']}, {line['set']}: {line['note']}.".replace(
            "_", " "
        )
        for line in missing.to_dict("records")
    )


def _pair(pairs: pd.DataFrame, entry: PrintedPValue) -> dict[str, Any]:
    """The comparison of a pair, its difference turned so that the first model of the printed pair leads."""
    same = pairs[(pairs["metric"] == entry.metric) & (pairs["set"] == entry.set)]
    first, second = entry.models
    straight = same[(same["model_a"] == first) & (same["model_b"] == second)]
    if len(straight):
        return dict(straight.iloc[0])
    turned = same[(same["model_a"] == second) & (same["model_b"] == first)]
    if turned.empty:
        return {}
    line = dict(turned.iloc[0])
    return {**line, "difference": -line["difference"], "ci_low": -line["ci_high"], "ci_high": -line["ci_low"]}


def p_values_on_page(frame: pd.DataFrame) -> pd.DataFrame:
    """The same as printed."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "Pair": f"{row['better']} − {row['than']}".replace("_", " "),
                "Metric": row["metric"],
                "Set": row["set"],
                "P, published": row["p_published"],
                "Difference, ours": format_interval(row["difference"], row["ci_low"], row["ci_high"]),
                "P, ours": format_p_value(row["p_value"]),
                "P, ours, Holm": format_p_value(row["p_holm"]),
            }
            for row in frame.to_dict("records")
        ]
    )
