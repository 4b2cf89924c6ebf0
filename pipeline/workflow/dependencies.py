"""What the result of each rule depends on beside its input files: code, settings, rules before it.

One table says it for all rules. From it follow the parameters by which Snakemake reruns a rule
whose code or settings changed, and the digest of all code that the report states.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pipeline.as_planned import stage_code
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.models import Model
from pipeline.settings.radiomics import PERTURBATION_KEYS
from pipeline.workflow.study import Study

CONVERTED = ("convert", "convert_nifti")
SLICES = ("ingest", "disks", "chest_slices")
AS_INDEXED = ("pipeline.tables.files",)
VOLUMES = (*CONVERTED, "suv", "contours")


def no_modules(model: Model) -> tuple[str, ...]:
    """For rules whose code is the same whatever the model."""
    return ()


def network_module(model: Model) -> tuple[str, ...]:
    """The file of a network, which is imported by its kind."""
    return (f"pipeline.nets.{model.kind}",)


def deepsurv_module(model: Model) -> tuple[str, ...]:
    """The training of networks on feature tables, which one kind of classical model runs."""
    return ("pipeline.training.tabular",) if model.kind == "deepsurv" else ()


@dataclass(frozen=True)
class Rule:
    """What the result of a rule depends on.

    Attributes:
        module: Its last name is the rule's; the rule's script calls a public function of it.
        section: Section of the settings that the rule is given; empty: it is given none whole.
        without: Keys of that section that change nothing of its result.
        after: Rules whose outputs it reads, in any study.
        also: Further modules that its script calls.
        models: Which models of a study it runs for, an attribute of `Study`; empty: not by model.
        by_kind: Modules that it imports by the kind of its model.
    """

    module: str
    section: str = ""
    without: frozenset[str] = frozenset()
    after: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    models: str = ""
    by_kind: Callable[[Model], tuple[str, ...]] = no_modules


NOT_NIFTI = frozenset(key for key in CohortSettings.model_fields if not key.startswith("nifti_"))
# Which tables are made changes none of the values in them.
TABLES_MADE = frozenset({"contours", "stability"})
# Settings of a region of the contour decide the features of this region alone.
OF_REGION = {"threshold": "threshold_share", "peritumoral": "rim_mm"}
NOT_OF_CONTOUR = TABLES_MADE | set(OF_REGION.values())

RULES: dict[str, Rule] = {
    "phantom": Rule("pipeline.phantoms.phantom", "phantom"),
    "index": Rule("pipeline.dicom.series.index", "index", after=("phantom",)),
    "convert": Rule("pipeline.dicom.volume.convert", "convert", after=("index",), also=AS_INDEXED),
    "convert_nifti": Rule("pipeline.dicom.volume.convert_nifti", "cohort", NOT_NIFTI),
    "suv": Rule("pipeline.dicom.pet.suv", "suv", after=CONVERTED),
    "contours": Rule(
        "pipeline.dicom.contours.contours", "contours", after=("index", *CONVERTED, "suv"), also=AS_INDEXED
    ),
    "template": Rule("pipeline.registration.template", "registration", after=CONVERTED),
    "register": Rule("pipeline.registration.register", "registration", after=(*CONVERTED, "template")),
    "crop_position": Rule(
        "pipeline.crops.crop_position", "crop", after=("contours", "register", "template")
    ),
    "crop": Rule("pipeline.crops.crop", "crop", after=(*VOLUMES, "register", "crop_position")),
    "ingest": Rule("pipeline.crops.ingest", "ingest"),
    "disks": Rule("pipeline.phantoms.disks", "disks", also=("pipeline.crops.ingest",)),
    "chest_slices": Rule(
        "pipeline.phantoms.chest_slices", "chest_slices", also=("pipeline.crops.ingest",)
    ),
    "radiomics_patient": Rule(
        "pipeline.radiomics.radiomics_patient",
        "radiomics",
        NOT_OF_CONTOUR | PERTURBATION_KEYS,
        after=(*VOLUMES, "register", "crop"),
    ),
    "radiomics_table": Rule("pipeline.radiomics.radiomics_table", after=("radiomics_patient",)),
    "radiomics_predicted": Rule(
        "pipeline.radiomics.radiomics_predicted",
        "radiomics",
        NOT_OF_CONTOUR | PERTURBATION_KEYS,
        after=(*VOLUMES, "register", "crop", "plan", "train_fold"),
    ),
    "stability_patient": Rule(
        "pipeline.radiomics.stability_patient", "radiomics", NOT_OF_CONTOUR, after=(*VOLUMES, "register", "crop")
    ),
    "stability": Rule("pipeline.metrics.stability", after=("stability_patient",)),
    "exclusions": Rule(
        "pipeline.planning.exclusions",
        after=("index", *VOLUMES, "register", "crop", *SLICES, "radiomics_patient"),
    ),
    # Parts within folds are dealt later: they move no fold.
    "plan": Rule("pipeline.planning.plan", "plan", frozenset({"cross_parts"}), after=("exclusions",)),
    "training_plan": Rule("pipeline.planning.training_plan", "plan", after=("exclusions", "plan")),
    "train_fold": Rule(
        "pipeline.training.train_fold",
        after=("crop", *SLICES, "plan", "cross_splits"),
        models="networks",
        by_kind=network_module,
    ),
    "cross_splits": Rule("pipeline.planning.cross_splits", after=("plan",)),
    "survival": Rule(
        "pipeline.survival.survival",
        after=("radiomics_table", "radiomics_predicted", "stability", "plan", "cross_splits", "train_fold"),
        models="classical",
        by_kind=deepsurv_module,
    ),
    "ensemble": Rule("pipeline.ensemble.ensemble", after=("train_fold", "survival")),
    "evaluate": Rule("pipeline.metrics.evaluate", "evaluation", after=("plan", "train_fold", "survival", "ensemble")),
    "explain_model": Rule(
        "pipeline.explain.explain_model",
        "explain",
        after=("crop", *SLICES, "plan", "train_fold", "ensemble"),
        models="explained",
        by_kind=network_module,
    ),
    "bundle": Rule(
        "pipeline.deploy.bundle",
        after=("index", *VOLUMES, "template", "register", "crop_position", "crop", "radiomics_patient",
               "plan", "train_fold", "survival", "ensemble", "evaluate"),
    ),
    "report": Rule(
        "pipeline.report.report",
        after=("suv", "contours", "register", "crop", *SLICES, "radiomics_table", "stability",
               "exclusions", "plan", "training_plan", "train_fold", "survival", "ensemble", "evaluate",
               "explain_model"),
    ),
}  # fmt: skip


def by_name(parameters: Iterable[tuple[str, Any]]) -> Callable[[Any], str]:
    """A parameter that records all others of a rule with their names.

    Snakemake records parameters as a set of values: two that swap theirs would rerun nothing.

    Args:
        parameters: Names and values of the rule's other parameters, some of them functions of the wildcards.

    Returns:
        A function of the wildcards that gives the digest (16 hexadecimal digits) of names and values.
    """
    # `stops` asks the disk, which a job that starts elsewhere may find otherwise.
    given = {name: value for name, value in parameters if name != "stops"}

    def digest(wildcards: Any) -> str:
        values = {name: value(wildcards) if callable(value) else value for name, value in given.items()}
        text = json.dumps(values, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    return digest


@dataclass(frozen=True)
class Dependencies:
    """What the rules of one study depend on.

    Attributes:
        study: Settings and cohort table.
    """

    study: Study
    _codes: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = field(
        default_factory=dict, repr=False, compare=False
    )

    def on(self, name: str) -> dict[str, Any]:
        """Parameters of a rule that come from the table.

        Args:
            name: The rule.

        Returns:
            `code` (:func:`pipeline.as_planned.stage_code`), a function of the wildcards, so that a job that
            Snakemake starts in a process of its own digests only its own code; and `settings`, where the rule
            has a section.
        """
        section = self.settings(name)
        return {"code": self._code_of_job(name), **({"settings": section} if section else {})}

    def settings(self, name: str) -> dict[str, Any]:
        """The settings that a rule is given, as plain values; empty: it is given none whole."""
        rule = RULES[name]
        if not rule.section:
            return {}
        section = getattr(self.study.settings, rule.section)
        # Generators have a section only in studies that generate.
        values = {} if section is None else section.model_dump(mode="json")
        return {key: value for key, value in values.items() if key not in rule.without}

    def settings_of_region(self, region: str) -> dict[str, Any]:
        """The settings of radiomics for a region of the contour, with the key that decides the region."""
        key = OF_REGION[region]
        section = self.study.settings.radiomics.model_dump(mode="json")
        return {**self.settings("radiomics_patient"), key: section[key]}

    def code(self, name: str, model: str = "") -> dict[str, Any]:
        """The code that a rule runs, its script included (:func:`pipeline.as_planned.stage_code`).

        Args:
            name: The rule.
            model: The model it runs for, where the rule runs by model.
        """
        modules = self.modules(name, model)
        if (name, modules) not in self._codes:
            self._codes[name, modules] = stage_code(name, modules)
        return self._codes[name, modules]

    def modules(self, name: str, model: str = "") -> tuple[str, ...]:
        """Modules that a rule calls; what these import is covered by the digest too."""
        rule = RULES[name]
        by_kind = rule.by_kind(self.study.settings.models[model]) if rule.models else ()
        return (rule.module, *rule.also, *by_kind)

    def models_of(self, name: str) -> list[str]:
        """Models that a rule runs for; one empty name where it does not run by model."""
        models = RULES[name].models
        return list(getattr(self.study, models)) if models else [""]

    def rules_before(self, name: str) -> set[str]:
        """Rules of this study whose results reach a rule, however far before it."""
        before: set[str] = set()
        waiting = [name]
        while waiting:
            direct = (self.active & set(RULES[waiting.pop()].after)) - before
            before |= direct
            waiting.extend(direct)
        return before - {name}

    def code_of_results(self) -> str:
        """Digest of the code of the report and of every rule whose results reach it.

        Two reports that state the same were made by the same code, networks, explanations,
        radiomics and stability of features included.
        """
        rules = sorted(self.rules_before("report") | {"report"})
        text = "\0".join(f"{rule}\0{self._digests(rule)}" for rule in rules)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def active(self) -> frozenset[str]:
        """Rules that this study has."""
        study = self.study
        source = study.settings.cohort.source
        conditions = {
            "phantom": study.is_phantom,
            "index": source == "dicom",
            "convert": source == "dicom",
            "convert_nifti": source == "nifti",
            **dict.fromkeys(("suv", "contours", "register", "crop"), study.from_scanner),
            "template": study.uses_template,
            "crop_position": study.uses_crop_position,
            "ingest": source == "slices",
            "disks": study.settings.disks is not None,
            "chest_slices": study.settings.chest_slices is not None,
            **dict.fromkeys(("radiomics_patient", "radiomics_table"), study.uses_radiomics),
            "radiomics_predicted": study.uses_radiomics and bool(study.settings.contour_networks()),
            **dict.fromkeys(("stability_patient", "stability"), study.uses_stability),
            "cross_splits": bool(study.settings.deep_sources()),
            "train_fold": bool(study.networks),
            "survival": bool(study.classical),
            "explain_model": bool(study.explained),
        }
        return frozenset(name for name in RULES if conditions.get(name, True))

    def _digests(self, name: str) -> dict[str, str]:
        """Model → digest of a rule's code; the name is empty where the rule does not run by model."""
        return {model: self.code(name, model)["digest"] for model in self.models_of(name)}

    def _code_of_job(self, name: str) -> Callable[[Any], dict[str, Any]]:
        if RULES[name].models:
            return lambda wildcards: self.code(name, wildcards.model)
        return lambda wildcards: self.code(name)
