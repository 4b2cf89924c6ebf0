"""The report: figures, tables and one page that holds them."""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.console import progress
from pipeline.report import audit, curves, flow, histories, methods, slices
from pipeline.report.job import ReportJob
from pipeline.report.page import Table, render
from pipeline.report.style import Canvas, pretty
from pipeline.tables.outcomes import read_outcomes

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass
class Content:
    """What the page shows; sections without content are left out."""

    figures: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)


def build_report(job: ReportJob, out: Path) -> None:
    """Write `index.html`, figures as SVG and PNG, tables as CSV.

    Args:
        job: The finished study.
        out: The report's folder; figures go to `figures/`, tables to `tables/`.
    """
    import pandas as pd

    out.mkdir(parents=True, exist_ok=True)
    canvas = Canvas(out / "figures", job.study.note)
    cohort = read_outcomes(job.results / "cohort.parquet")
    metrics = pd.read_csv(job.results / "metrics" / "metrics.csv")
    content = Content()
    for step in progress((_cohort, _survival, _segmentation, _images, _audit), title="report"):
        step(job, canvas, content, cohort, metrics)
    _write_tables(content, out / "tables")
    page = render(job, content.figures, content.tables, content.lists, methods.methods(job))
    (out / "index.html").write_text(page, encoding="utf-8")
    log.info("report written to %s", out / "index.html")


def _cohort(
    job: ReportJob, canvas: Canvas, content: Content, cohort: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    import pandas as pd

    problems = pd.read_csv(job.results / "problems.csv", keep_default_na=False)
    folds = len(json.loads((job.results / "splits.json").read_text(encoding="utf-8"))["folds"])
    counted = flow.flow_of(cohort, problems, folds)
    content.figures["flow"] = flow.draw_flow(counted, canvas)
    content.tables["cohort"] = Table("Patients", _cohort_table(cohort))
    if len(problems):
        content.tables["problems"] = Table("Patients with problems", problems)
    content.lists["facts"] = _facts(job, counted, metrics)


def _cohort_table(cohort: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, part in cohort.groupby("set", sort=True):
        row = {
            "Set": str(name).capitalize(),
            "Patients": len(part),
            "Events": f"{int(part['event'].sum())} ({part['event'].mean():.0%})",
            "Follow-up, median (range)": f"{part['time_days'].median():.0f} "
            f"({part['time_days'].min():.0f}–{part['time_days'].max():.0f})",
            "Centres": part["centre"].nunique(),
        }
        for column in (c for c in cohort.columns if str(c).startswith("clinical_")):
            row[pretty(str(column).removeprefix("clinical_")).capitalize()] = _summary(part[column])
        rows.append(row)
    return pd.DataFrame(rows).set_index("Set").T.reset_index(names="")


def _summary(values: pd.Series) -> str:
    if values.dtype.kind == "f":
        return f"{values.median():.3g} ({values.min():.3g}–{values.max():.3g})"
    counts = values.fillna("missing").value_counts()
    return ", ".join(f"{level}: {count}" for level, count in sorted(counts.items()))


def _facts(job: ReportJob, counted: flow.Flow, metrics: pd.DataFrame) -> list[tuple[str, str]]:
    facts = [("patients analysed", str(sum(n for n, _ in counted.sets.values())))]
    facts.append(("events", str(sum(e for _, e in counted.sets.values()))))
    which = "external" if "external" in set(metrics["set"]) else "development"
    rows = metrics[
        (metrics["model"] == job.headline) & (metrics["set"] == which) & (metrics["metric"] == "c_index")
    ]
    if len(rows):
        row = rows.iloc[0]
        facts.append(
            (
                f"C-index of {pretty(job.headline)}, {which}",
                f"{row['value']:.3f} ({row['ci_low']:.2f}–{row['ci_high']:.2f})",
            )
        )
    dice = metrics[(metrics["metric"] == "dice") & (metrics["set"] == which)].dropna(subset=["value"])
    if len(dice):
        best = dice.loc[dice["value"].idxmax()]
        facts.append((f"mean Dice of {pretty(str(best['model']))}, {which}", f"{best['value']:.2f}"))
    return facts


def _survival(
    job: ReportJob, canvas: Canvas, content: Content, cohort: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    import pandas as pd

    folder = job.results / "metrics"
    content.figures["concordance"] = curves.draw_concordance(metrics, canvas)
    content.tables["metrics"] = Table("All metrics", metrics)
    comparisons = pd.read_csv(folder / "comparisons.csv")
    if len(comparisons):
        content.tables["comparisons"] = Table("Differences between models", comparisons)
    content.figures["kaplan_meier"] = curves.draw_kaplan_meier(
        pd.read_csv(folder / "km.csv"), metrics, job.headline, canvas
    )
    calibration = folder / "calibration.csv"
    if calibration.is_file():
        drawn = curves.draw_calibration(pd.read_csv(calibration), job.headline, canvas)
        if drawn:
            content.figures["calibration"] = drawn


def _segmentation(
    job: ReportJob, canvas: Canvas, content: Content, cohort: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    import pandas as pd

    pictures, dice_pictures = [], []
    for model in job.networks():
        pictures.append(histories.draw_history(histories.read_histories(job, model), model, canvas))
        table = pd.read_parquet(job.results / "ensemble" / f"{model}.parquet")
        if "dice" in table and table["dice"].notna().any():
            dice_pictures.append(histories.draw_dice(table, model, canvas))
    content.lists["training"] = pictures
    content.lists["dice"] = dice_pictures


def _images(
    job: ReportJob, canvas: Canvas, content: Content, cohort: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    stored = [p for p in slices.stored_patients(job.results) if p in cohort.index]
    if not stored or job.cohort.source not in ("dicom", "nifti"):
        return
    table = cohort.loc[stored, ["set"]].copy()
    model = _segmenter(job)
    if model:
        import pandas as pd

        found = pd.read_parquet(job.results / "ensemble" / f"{model}.parquet").set_index("patient_id")
        table["dice"] = found["dice"].reindex(table.index)
    shown = slices.choose_examples(table, job.report.examples)
    examples = [slices.load_example(job, p, model, _caption(p, table)) for p in shown]
    content.figures["examples"] = slices.draw_examples(examples, canvas)
    order = sorted(stored, key=lambda p: (table["dice"].get(p, 0.0) if "dice" in table else 0.0, p))
    captions = {p: _caption(p, table).replace("\n", " ") for p in order}
    content.figures["mosaic"] = slices.draw_mosaic(job, order[:96], captions, canvas)


def _segmenter(job: ReportJob) -> str | None:
    for model in job.networks():
        if any((folder / "masks.zarr").exists() for folder in job.folds(model)):
            return model
    return None


def _caption(patient_id: str, table: pd.DataFrame) -> str:
    dice = table["dice"].get(patient_id) if "dice" in table else None
    return f"{patient_id}\nDice {dice:.2f}" if dice is not None and dice == dice else patient_id


def _audit(
    job: ReportJob, canvas: Canvas, content: Content, cohort: pd.DataFrame, metrics: pd.DataFrame
) -> None:
    suv = audit.suv_audit(job.results)
    if len(suv):
        content.tables["suv"] = Table("SUV of every patient", suv)
    quality = audit.registration_quality(job.results)
    if len(quality):
        content.tables["registration"] = Table("Registration of every patient", quality)
        pictures = sorted(job.results.glob("registration/*/quality.png"))
        content.lists["registration"] = _copy_pictures(pictures, quality, canvas.folder)


def _copy_pictures(pictures: list[Path], quality: pd.DataFrame, folder: Path) -> list[str]:
    """The least overlapping registrations' pictures, worst first."""
    by_patient = {p.parent.name: p for p in pictures}
    column = next((c for c in quality.columns if "overlap" in c), "patient_id")
    worst = quality.sort_values(column)["patient_id"].tolist()[:3]
    names = []
    for patient_id in worst:
        if patient_id in by_patient:
            name = f"registration_{patient_id}.png"
            shutil.copyfile(by_patient[patient_id], folder / name)
            names.append(name)
    return names


def _write_tables(content: Content, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in content.tables.items():
        table.frame.to_csv(folder / f"{name}.csv", index=False)
