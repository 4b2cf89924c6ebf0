"""Tables of the pairs of models that a study lists, and of every metric within its subgroups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.metrics.pairs import FAMILY as LISTED_PAIRS
from pipeline.report.formatting import MISSING, display_name, format_interval, is_known
from pipeline.report.page import ReportContent
from pipeline.report.page_table import Table
from pipeline.report.tables import print_differences

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.report.sections import StudyResults
    from pipeline.report.style import FigureCanvas

PAIRED_ON_PAGE = ("c_index", "dice", "label_")
"""Beginnings of the metrics whose paired differences the page shows."""
PAIRS_NOTE = (
    "listed pairs, each in every metric that both models have, on the same resamples of {resampled}; p, Holm: adjusted "
    "over the listed pairs within a metric and set. The CSV has every metric."
)
SUBGROUPS_NOTE = (
    "Patients of one level of a column each, with their number (and events). Subgroups are small: an interval that "
    "is wide says so. The CSV has every metric."
)


def pairs_and_subgroups(study: StudyResults, canvas: FigureCanvas, content: ReportContent) -> None:
    """Listed pairs in every metric, and every metric in each level of the study's subgroups."""
    import pandas as pd

    folder, settings = study.job.results / "metrics", study.job.settings.evaluation
    if settings.comparisons:
        comparisons = pd.read_csv(folder / "comparisons.csv")
        listed = comparisons[comparisons["family"] == LISTED_PAIRS]
        note = f"{len(settings.comparisons)} {PAIRS_NOTE.format(resampled=content.resampled)}"
        shown = pairs_on_page(comparisons)
        content.add_table("pairs", Table("Listed pairs", listed, shown, note=note, caveats=content.caveats))
    if settings.subgroups:
        subgroups = pd.read_csv(folder / "subgroups.csv", dtype={"level": str})
        shown = subgroups_on_page(subgroups)
        entry = Table("Subgroups", subgroups, shown, note=SUBGROUPS_NOTE, caveats=content.caveats)
        content.add_table("subgroups", entry)


def pairs_on_page(comparisons: pd.DataFrame) -> pd.DataFrame:
    """Differences of the listed pairs in the headline metrics, as printed; the CSV has every metric.

    A pair that could be compared in no metric has a row with the reason.
    """
    import pandas as pd

    listed = comparisons[comparisons["family"] == LISTED_PAIRS]
    without = listed[listed["metric"].isna()].to_dict("records")
    listed = listed[listed["metric"].notna()]
    shown = [name for name in dict.fromkeys(listed["metric"]) if str(name).startswith(PAIRED_ON_PAGE)]
    parts = [
        print_differences(listed, metric, ("Compared with", "Difference")).assign(Metric=metric)
        for metric in shown
    ]
    if without:
        rows = [
            {
                "Model": display_name(str(row["model_a"])),
                "Compared with": display_name(str(row["model_b"])),
                "Difference": row["note"],
            }
            for row in without
        ]
        parts.append(pd.DataFrame(rows))
    return pd.concat(parts, ignore_index=True).fillna(MISSING) if parts else pd.DataFrame()


def subgroups_on_page(subgroups: pd.DataFrame) -> pd.DataFrame:
    """A row per level, set and model with its headline metrics, as printed."""
    import pandas as pd

    rows: dict[tuple[str, ...], dict[str, str]] = {}
    for line in subgroups.to_dict("records"):
        metric = str(line["metric"])
        if metric not in ("c_index", "dice") and not metric.startswith("label_"):
            continue
        key = tuple(str(line[name]) for name in ("column", "level", "set", "model"))
        events = f" ({line['events']:.0f})" if is_known(line["events"]) else ""
        row = rows.setdefault(
            key,
            {
                "Subgroup": f"{display_name(key[0].removeprefix('label_').removeprefix('clinical_'))} {key[1]}",
                "Set": key[2].capitalize(),
                "Model": display_name(key[3]),
                "Patients (events)": f"{line['patients']:.0f}{events}",
            },
        )
        row[metric] = format_interval(line["value"], line["ci_low"], line["ci_high"])
    return pd.DataFrame(list(rows.values())).fillna(MISSING)
