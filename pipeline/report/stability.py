"""How features agree over perturbed contours, for the page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

GOOD, EXCELLENT = 0.75, 0.9
"""Lower ends of the interval from which agreement is called good and excellent (Koo & Li,
J Chiropr Med 2016;15:155-163)."""
NOTE = (
    "ICC(1,1) among development patients of features under the contour as drawn, grown, shrunk and moved. "
    "Good and excellent: the lower end of the 95 % interval is at least 0.75 and 0.9. "
    "A model with min_icc computes its own, among its fold's training patients."
)


def feature_group(name: str) -> tuple[str, str, str]:
    """Image, filter and class of a column `{image}_{filter}_{class}_{feature}` or `{image}_index_…`."""
    parts = name.split("_")
    if len(parts) < 3 or parts[1] == "index":
        return parts[0].upper(), "–", "index"
    return parts[0].upper(), parts[1].split("-")[0], parts[2]


def stability_summary(table: pd.DataFrame) -> pd.DataFrame:
    """Agreement by image, filter and class, all features first.

    Args:
        table: `stability.csv`: feature, icc, icc_low, icc_high, patients.

    Returns:
        Features, median ICC (of those that have one), how many are good and excellent; no rows
        where nothing was measured.
    """
    import pandas as pd

    if table.empty:
        return pd.DataFrame()
    groups = [feature_group(str(name)) for name in table["feature"]]
    frame = table.assign(group=groups)
    everything = ("All", "", f"{int(table['patients'].max())} patients")
    parts = [(everything, frame), *((key, part) for key, part in frame.groupby("group", sort=True))]
    rows = [
        {
            "Image": image,
            "Filter": kind,
            "Class": name,
            "Features": len(part),
            "Median ICC": part["icc"].dropna().median(),
            "Good": int((part["icc_low"] >= GOOD).sum()),
            "Excellent": int((part["icc_low"] >= EXCELLENT).sum()),
        }
        for (image, kind, name), part in parts
    ]
    return pd.DataFrame(rows)


def read_stability(results: Path) -> pd.DataFrame | None:
    """`stability.csv`, where the study made one."""
    import pandas as pd

    path = results / "radiomics" / "stability.csv"
    return pd.read_csv(path) if path.is_file() else None
