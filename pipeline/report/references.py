"""`references.bib`: the sources of the methods that a study used, for the authors' paper."""

from __future__ import annotations

from pathlib import Path

from pipeline.metrics.centres import CENTRE
from pipeline.settings.label_models import LabelModel
from pipeline.settings.network import Network
from pipeline.settings.root import Settings

SOURCE = Path(__file__).parent / "references.bib"
ALWAYS = ("collins2024tripod", "molder2021", "davison1997")
SURVIVAL = (
    "kaplan1958", "harrell1982", "uno2011", "uno2007", "hung2010", "lambert2016", "graf1999", "royston2004",
    "newcombe2006", "austin2020", "grambsch1994", "vickers2006", "vickers2008", "holm1979", "cox1972", "efron1977",
    "polsterl2020",
)  # fmt: skip
BY_KIND = {
    "lasso_cox": ("tibshirani1997",),
    "rsf": ("ishwaran2008",),
    "deepsurv": ("katzman2018",),
}
"""Kind of model → further sources."""


def cited_keys(settings: Settings, *, survival: bool) -> list[str]:
    """Keys of the sources of a study's methods, in the order of `references.bib`.

    Args:
        settings: The study's settings.
        survival: Whether a model predicts survival.
    """
    models = settings.models.values()
    keys = {*ALWAYS, *(SURVIVAL if survival else ()), *_of_evaluation(settings, survival=survival)}
    for model in models:
        keys |= set(BY_KIND.get(model.kind, ()))
        keys |= {"johnson2007"} if model.model_dump().get("harmonise") == "combat" else set()
    if any(isinstance(model, Network) for model in models):
        keys |= {"paszke2019", "gatidis2024"}
    if any(model.needs.radiomics for model in models):
        keys |= {"zwanenburg2020", "vangriethuysen2017"}
    if any(model.needs.radiomics or isinstance(model, Network) for model in models):
        keys |= {"kocak2023", "kocak2024"}
    if settings.registration.method == "template" and settings.cohort.source in ("dicom", "nifti"):
        keys.add("avants2011")
    if settings.explain.models:
        keys.add("adebayo2018")
    return [key for key in entries() if key in keys]


def _of_evaluation(settings: Settings, *, survival: bool) -> set[str]:
    """Keys of what the section `evaluation` asks for, and of curves of class outcomes."""
    evaluation, keys = settings.evaluation, set[str]()
    if survival and evaluation.permutations:
        keys |= {"simon2011", "besag1991"}
    if settings.classical() and evaluation.optimism_bootstraps:
        keys.add("harrell1996")
    if evaluation.importance_permutations:
        keys.add("breiman2001")
    if CENTRE in evaluation.subgroups:
        keys |= {"dersimonian1986", "hartung2001", "higgins2009", "snell2018", "debray2017"}
    if survival or any(isinstance(model, LabelModel) for model in settings.models.values()):
        keys.add("fawcett2006")
    return keys


def entries() -> dict[str, str]:
    """Key → entry of all sources, in order."""
    lines = [line for line in SOURCE.read_text(encoding="utf-8").splitlines() if line.startswith("@")]
    return {line.split("{", 1)[1].split(",", 1)[0]: line for line in lines}


def bibliography(settings: Settings, *, survival: bool) -> str:
    """Content of `references.bib`, an entry a line."""
    known = entries()
    return "".join(f"{known[key]}\n" for key in cited_keys(settings, survival=survival))
