"""Whether the cells of a paper's tables and the panels of its figures can be filled by the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.settings.kinds import ranking
from pipeline.settings.losses import TERMS, terms_needing
from pipeline.settings.network import Network
from pipeline.settings.paper import PER_PATIENT, CellSource, PaperFigure, PaperSettings, predicted_for

if TYPE_CHECKING:
    from pipeline.settings.root import Settings


def require_paper(settings: Settings) -> None:
    """Every cell of a paper's tables is of a model that predicts it, of patients there are."""
    if settings.paper is None:
        return
    for where, source in settings.paper.sources():
        _require_cell(settings, where, source)
    _require_p_values(settings, settings.paper)
    for key, figure in settings.paper.figures.items():
        _require_figure(settings, f"paper.figures.{key}", figure)


def _require_cell(settings: Settings, where: str, source: CellSource) -> None:
    needed = predicted_for(source.metric)
    if not needed:
        raise ValueError(f"{where}: there is no metric {source.metric!r}; name one as in metrics.csv")
    if source.model not in (*settings.models, *settings.ensembles):
        raise ValueError(f"{where} names {source.model!r}, which is no model")
    if not _predicts(settings, source.model, needed, source.metric):
        raise ValueError(
            f"{where}: model {source.model!r} has no {source.metric}, since it predicts no {needed}"
        )
    if source.set in ("test", "development") and settings.plan.folds == 1:
        raise ValueError(f"{where} is of {source.set} patients, and plan.folds: 1 holds out nobody")
    if source.fold is not None and (source.set != "test" or source.fold >= settings.plan.runs):
        raise ValueError(f"{where}: fold {source.fold} needs set: test and more than {source.fold} folds")
    _require_runs_and_spread(settings, where, source)
    column = source.subgroup.partition("=")[0]
    if column and column not in settings.evaluation.subgroups:
        raise ValueError(f"{where} is of a level of {column!r}, which evaluation.subgroups does not name")


def _require_runs_and_spread(settings: Settings, where: str, source: CellSource) -> None:
    """Single runs are of one model, a spread over runs is of single runs, one over patients of their scores."""
    if (source.set == "external" and source.each_run) or source.set in ("train", "validation", "test"):
        if source.model in settings.ensembles and source.model not in settings.models:
            raise ValueError(
                f"{where}: {source.model!r} is an average of models, which has no runs of its own"
            )
    elif source.spread not in (None, "interval"):
        raise ValueError(
            f"{where}: spread {source.spread} is over runs; set each_run: true, or spread: interval"
        )
    if source.spread == "sd_of_patients" and not PER_PATIENT.match(source.metric):
        raise ValueError(
            f"{where}: single patients have no {source.metric}, so it has no SD over patients; set spread: "
            "sd_of_runs, or another metric"
        )


def _predicts(settings: Settings, name: str, needed: str, metric: str) -> bool:
    """Whether a model gives risks, masks, boxes, or the label that a metric is of."""
    model = settings.models.get(name)
    if model is None or needed == "risk":
        return name in (*ranking(settings.models), *settings.ensembles) and needed == "risk"
    if needed != "labels":
        return needed in model.gives()
    named = model.losses.labels if isinstance(model, Network) else ()
    return "labels" in model.gives() and any(metric.startswith(f"{label}_") for label in named)


def _require_p_values(settings: Settings, paper: PaperSettings) -> None:
    """A printed p-value is of a pair that this study compares."""
    compared = {frozenset(pair) for pair in settings.evaluation.comparisons}
    for key, table in paper.tables.items():
        for printed in table.p_values:
            if frozenset(printed.models) not in compared:
                raise ValueError(
                    f"paper.tables.{key}.p_values: add {list(printed.models)} to evaluation.comparisons"
                )


def _require_figure(settings: Settings, where: str, figure: PaperFigure) -> None:
    """Histories are of networks that have the loss's term; other figures are ones the report draws."""
    for panel in figure.panels:
        for name in panel.models:
            network = settings.networks().get(name)
            if network is None:
                raise ValueError(f"{where} names {name!r}, which is no network of this study")
            for term in panel.terms:
                needed = terms_needing(term)
                if term not in ("loss", *TERMS) or (needed and not needed & network.gives()):
                    raise ValueError(f"{where}: the loss of {name!r} has no term {term!r}")
    if figure.shows == "predicted_survival" and not settings.evaluation.curve_days:
        raise ValueError(f"{where} shows predicted survival: name times in evaluation.curve_days")
    if figure.shows == "explanations" and not settings.explain.models:
        raise ValueError(f"{where} shows attribution maps: name networks in explain.models")
