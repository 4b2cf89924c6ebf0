"""Tables of radiomics features: what was extracted, how stable it is, what linear models chose."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.report.formatting import display_name, format_number
from pipeline.report.job import ReportJob
from pipeline.tables.parquet import read_frame

if TYPE_CHECKING:
    import pandas as pd

GOOD_ICC, EXCELLENT_ICC = 0.75, 0.9
"""Lower ends of the interval from which agreement is called good and excellent (Koo & Li,
J Chiropr Med 2016;15:155-163)."""
STABILITY_NOTE = (
    "ICC(1,1) among development patients of features under the contour as drawn, grown, shrunk and moved. "
    "Good and excellent: the lower end of the 95 % interval is at least 0.75 and 0.9. "
    "A model with min_icc computes its own, among its fold's training patients."
)
VARIABLES_NOTE = (
    "Log-hazard ratios per standard deviation; positive = worse. Levels: against the most frequent "
    "one among the fold’s training patients, which may be another one in another fold."
)


class FeatureGroup(NamedTuple):
    """Image, filter and class that a feature belongs to, as printed; sorted in this order."""

    image: str
    filter: str
    kind: str


def feature_group(name: str) -> FeatureGroup:
    """Group of a column `{image}_{filter}_{class}_{feature}` or `{image}_index_{feature}`."""
    parts = name.split("_")
    if len(parts) < 3 or parts[1] == "index":
        return FeatureGroup(parts[0].upper(), "–", "index")
    return FeatureGroup(parts[0].upper(), parts[1].split("-")[0], parts[2])


def radiomics_overview(path: Path) -> pd.DataFrame:
    """Features by image, filter and class, with how many values are missing.

    Args:
        path: `features.parquet`: patient_id and a column per feature.
    """
    import pandas as pd

    features = read_frame(path).set_index("patient_id")
    counts: Counter[FeatureGroup] = Counter()
    missing: Counter[FeatureGroup] = Counter()
    for name in features.columns:
        group = feature_group(str(name))
        counts[group] += 1
        missing[group] += int(features[name].isna().sum())
    rows: list[dict[str, Any]] = [
        {
            "Image": "All",
            "Filter": "",
            "Class": f"{len(features)} patients",
            "Features": features.shape[1],
            "Missing values": int(features.isna().sum().sum()),
        }
    ]
    rows += [
        {
            "Image": group.image,
            "Filter": group.filter,
            "Class": group.kind,
            "Features": count,
            "Missing values": missing[group],
        }
        for group, count in sorted(counts.items())
    ]
    return pd.DataFrame(rows)


IMPORTANCE_NOTE = (
    "Fall of the held-out C-index (of a class outcome: AUC) within folds where a column is dealt anew among test "
    "patients, mean and SD over permutations; the ten most important columns of each model. Columns that say the "
    "same stand in for one another. An image channel of a network is exchanged whole between patients."
)


def importance_on_page(importance: pd.DataFrame) -> pd.DataFrame:
    """The most important columns of each model, as printed, from `importance.csv`."""
    import pandas as pd

    rows = [
        {
            "Model": display_name(str(row["model"])),
            "Column": row["column"],
            "Fall of the C-index or AUC": format_number(row["drop"], 3),
            "SD": format_number(row["sd"], 3),
        }
        for _, part in importance.groupby("model", sort=False)
        for row in part.head(10).to_dict("records")
    ]
    return pd.DataFrame(rows)


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
    frame = table.assign(group=[feature_group(str(name)) for name in table["feature"]])
    everything = FeatureGroup("All", "", f"{int(table['patients'].max())} patients")
    parts = [(everything, frame)]
    parts += [(FeatureGroup(*group), part) for group, part in frame.groupby("group", sort=True)]
    rows = [
        {
            "Image": group.image,
            "Filter": group.filter,
            "Class": group.kind,
            "Features": len(part),
            "Median ICC": part["icc"].dropna().median(),
            "Good": int((part["icc_low"] >= GOOD_ICC).sum()),
            "Excellent": int((part["icc_low"] >= EXCELLENT_ICC).sum()),
        }
        for group, part in parts
    ]
    return pd.DataFrame(rows)


def chosen_variables(job: ReportJob) -> pd.DataFrame:
    """Variables of the linear models: in how many folds each was chosen, mean coefficient.

    Coefficients are log-hazard ratios (per SD of features and numbers), positive = worse.
    """
    import pandas as pd

    rows = []
    for model in job.settings.models:
        read = [_coefficients(folder) for folder in job.folds(model)]
        folds = [coefficients for coefficients in read if coefficients is not None]
        counts = Counter(name for fold in folds for name in fold)
        for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            values = [fold[name] for fold in folds if name in fold]
            rows.append(
                {
                    "Model": display_name(model),
                    "Variable": name,
                    "Folds": f"{count} of {len(folds)}",
                    "Mean log-hazard ratio": sum(values) / count,
                    "Lowest": min(values),
                    "Highest": max(values),
                }
            )
    return pd.DataFrame(rows)


CLASS_NAMES = {"firstorder": "first order", "shape": "shape"}
"""Class of features → its name, where that is no abbreviation."""


def feature_title(name: str) -> str:
    """A variable in words: `pet_original_glcm_Contrast` → `PET, GLCM: Contrast`; others without underscores."""
    parts = name.split("_", 3)
    if parts[1:2] == ["index"]:
        return f"{parts[0].upper()}: {display_name('_'.join(parts[2:]))}"
    if len(parts) == 4 and parts[0] in ("pet", "ct"):
        filtered = "" if parts[1] == "original" else f", {parts[1]}"
        kind = CLASS_NAMES.get(parts[2], parts[2].upper())
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", parts[3])
        return f"{parts[0].upper()}{filtered}, {kind}: {words}"
    return display_name(name.removeprefix("clinical_"))


def variables_on_page(chosen: pd.DataFrame) -> pd.DataFrame:
    """The table of :func:`chosen_variables` with names in words and three decimals."""
    if chosen.empty:
        return chosen
    numbers = ("Mean log-hazard ratio", "Lowest", "Highest")
    shown = {name: [format_number(value, 3) for value in chosen[name]] for name in numbers}
    return chosen.assign(Variable=[feature_title(name) for name in chosen["Variable"]], **shown)


def _coefficients(fold: Path) -> dict[str, float] | None:
    """Coefficients in a fold's `model.json`; None where the model is not linear."""
    path = fold / "model.json"
    content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    coefficients = content.get("coefficients")
    return coefficients if isinstance(coefficients, dict) else None
