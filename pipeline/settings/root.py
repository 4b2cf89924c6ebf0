"""All settings of a study, validated once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import SettingsError
from pipeline.settings.base import Section
from pipeline.settings.bundle import BundleSettings
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.evaluation import EvaluationSettings, ReportSettings
from pipeline.settings.explain import ExplainSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.kinds import ModelEntry, ranking
from pipeline.settings.messages import explain
from pipeline.settings.network import Network
from pipeline.settings.phantom import DiskSettings, PhantomSettings
from pipeline.settings.plan import PlanSettings
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.settings.study import StudySettings
from pipeline.settings.threads import ThreadSettings
from pipeline.settings.training import TrainingSettings


class Settings(Section):
    """A study."""

    study: StudySettings = Field(default_factory=StudySettings)
    cohort: CohortSettings = Field(default_factory=CohortSettings)
    phantom: PhantomSettings = Field(default_factory=PhantomSettings)
    disks: DiskSettings = Field(default_factory=DiskSettings)
    index: IndexSettings = Field(default_factory=IndexSettings)
    convert: ConvertSettings = Field(default_factory=ConvertSettings)
    suv: SuvSettings = Field(default_factory=SuvSettings)
    contours: ContourSettings = Field(default_factory=ContourSettings)
    registration: RegistrationSettings = Field(default_factory=RegistrationSettings)
    crop: CropSettings = Field(default_factory=CropSettings)
    radiomics: RadiomicsSettings = Field(default_factory=RadiomicsSettings)
    plan: PlanSettings = Field(default_factory=PlanSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    models: dict[str, ModelEntry] = Field(
        default_factory=dict, description="Models by the name they get in tables and figures."
    )
    ensembles: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Averages of several models' Z-scores: `{name: [models]}`. Every model's own "
        "folds are averaged in any case.",
    )
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    explain: ExplainSettings = Field(default_factory=ExplainSettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    bundle: BundleSettings = Field(default_factory=BundleSettings)
    threads: ThreadSettings = Field(default_factory=ThreadSettings)

    @model_validator(mode="after")
    def _names_agree(self) -> Settings:
        folders: dict[str, str] = {}
        for name in (*self.models, *self.ensembles):
            # A file system that ignores case would let two models write into one folder.
            other = folders.setdefault(name.lower(), name)
            if other != name:
                raise ValueError(f"the names {other!r} and {name!r} differ in nothing but case; rename one")
            if not name.replace("_", "").isalnum() or not name[0].isalpha() or len(name) < 2:
                raise ValueError(f"model name {name!r} must be letters, digits and _")
        for name, members in self.ensembles.items():
            if name in self.models:
                raise ValueError(f"ensemble {name!r} has the name of a model")
            if not members or len(set(members)) < len(members):
                raise ValueError(
                    f"ensemble {name!r} must name one model or more, each once, got {list(members)}"
                )
            for member in members:
                if member not in self.models:
                    raise ValueError(
                        f"ensemble {name!r} names {member!r}, which is not among the models: "
                        + ", ".join(self.models)
                    )
        self._require_named()
        self._require_contours()
        self._require_deep_sources()
        self._require_published()
        self._require_units()
        self._require_risks()
        return self

    def _require_named(self) -> None:
        """Models that other sections name are among this study's."""
        for where, name in (
            ("evaluation.compare_with", self.evaluation.compare_with),
            ("evaluation.reference_model", self.evaluation.reference_model),
            ("bundle.ensemble", self.bundle.ensemble),
        ):
            if name and name not in (*self.models, *self.ensembles):
                raise ValueError(f"{where} names {name!r}, which is no model")
        for name in self.explain.models:
            if name not in self.networks():
                raise ValueError(f"explain.models names {name!r}, which is no network of this study")

    def _require_contours(self) -> None:
        """Contours that models take features from can be had in this study."""
        for name, model in self.models.items():
            network = model.needs.contour_network
            if not network:
                continue
            source = self.models.get(network)
            if not isinstance(source, Network) or "mask" not in source.gives():
                raise ValueError(
                    f"model {name!r} takes contours of {network!r}, which is no model that segments"
                )
            if "masks" not in merge_training(self.training, source.training).outputs:
                raise ValueError(f"model {name!r} needs `masks` among training.outputs of {network!r}")
        if self.radiomics.images == "native" and "threshold" in self.region_tables():
            raise ValueError("contour `threshold` needs radiomics.images: crop, PET and CT on one grid")

    def region_tables(self) -> tuple[str, ...]:
        """Regions of the manual contour that feature tables are made of, beside the whole of it."""
        asked = {model.needs.contour for model in self.models.values()}
        wanted = {*self.radiomics.contours, *asked} - {"manual", "predicted"}
        return tuple(sorted(wanted))

    def contour_networks(self) -> tuple[str, ...]:
        """Networks on whose contours some model takes features."""
        return tuple(sorted({m.needs.contour_network for m in self.models.values()} - {""}))

    def needs_stability(self) -> bool:
        """Whether features under perturbed contours are extracted."""
        return self.radiomics.stability or any(m.needs.min_icc > 0 for m in self.models.values())

    def _require_deep_sources(self) -> None:
        """Networks that models take deep features from are among this study's."""
        networks = self.networks()
        for name, model in self.models.items():
            source = model.needs.deep
            if source and source not in networks:
                raise ValueError(
                    f"model {name!r} is offered deep features of {source!r}, which is no network of this "
                    f"study ({', '.join(networks) or 'there is none'})"
                )

    def bundled(self) -> str:
        """The model or ensemble that is packed; empty in a study without models."""
        named = self.bundle.ensemble or self.evaluation.compare_with
        several = [name for name, members in self.ensembles.items() if len(members) > 1]
        return named or next(iter([*several, *ranking(self.models), *self.models]), "")

    def _require_units(self) -> None:
        """Thresholds in g/mL meet values in g/mL: SUV by body surface has cm²/mL."""
        if self.suv.normalisation != "bsa":
            return
        meets = {
            "radiomics.enabled (bin widths and thresholds of indices)": self.radiomics.enabled
            and self.cohort.source in ("dicom", "nifti"),
            "crop.position: brain_anchored": self.crop.position == "brain_anchored",
            f"contours.auto_segment: {self.contours.auto_segment}": self.contours.auto_segment.startswith(
                "fixed"
            ),
        }
        for name, used in meets.items():
            if used:
                raise ValueError(
                    f"suv.normalisation: bsa is in cm²/mL, but {name} is in g/mL; change one of them"
                )

    def _require_published(self) -> None:
        """Published figures are of models and sets of this study."""
        for figure in self.report.published:
            if figure.model not in self.models:
                raise ValueError(f"report.published names {figure.model!r}, which is no model")
            if figure.set == "test" and self.plan.folds == 1:
                raise ValueError("report.published names test patients, and plan.folds: 1 has none")

    def _require_risks(self) -> None:
        """What compares, averages or chooses by risk names models that give one."""
        ranked = ranking(self.models)
        for name, members in self.ensembles.items():
            if not set(members) & set(ranked):
                raise ValueError(
                    f"ensemble {name!r} averages risks, and none of its models predicts survival: "
                    f"{', '.join(members)}; add one that does, or remove the ensemble"
                )
        published = [f.model for f in self.report.published if f.metric == "c_index"]
        for where, name in (
            ("evaluation.compare_with", self.evaluation.compare_with),
            ("evaluation.reference_model", self.evaluation.reference_model),
            *(("report.published: c_index", name) for name in published),
        ):
            if name and name not in (*ranked, *self.ensembles):
                raise ValueError(
                    f"{where} names {name!r}, which does not predict survival; name one that does"
                )

    def networks(self) -> dict[str, Network]:
        """Models trained by gradient descent."""
        return {name: m for name, m in self.models.items() if isinstance(m, Network)}

    def classical(self) -> dict[str, ModelEntry]:
        """Models fitted by scikit-survival and lifelines."""
        return {name: m for name, m in self.models.items() if not isinstance(m, Network)}

    def deep_sources(self) -> list[str]:
        """Networks whose deep features classical models are offered, sorted."""
        return sorted({m.needs.deep for m in self.models.values()} - {""})

    def balanced(self) -> list[str]:
        """Networks whose batches balance events."""
        return [name for name in self.networks() if self.training_of(name).balance_events]

    def training_of(self, name: str) -> TrainingSettings:
        """The training section with a model's overrides."""
        try:
            return merge_training(self.training, self.networks()[name].training)
        except SettingsError as error:
            raise SettingsError(error.problem, where=f"models.{name}.training") from None


def merge_training(base: TrainingSettings, overrides: Mapping[str, Any]) -> TrainingSettings:
    """The training section with overrides, nested groups merged key by key."""
    merged = base.model_dump()
    for key, value in overrides.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), dict):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    try:
        return TrainingSettings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError(explain(error, TrainingSettings, "training")) from None


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Validate a study's configuration.

    Raises:
        SettingsError: Naming each wrong key, what was expected, and the nearest valid key.
    """
    try:
        settings = Settings.model_validate(config)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings)) from None
    for name, network in settings.networks().items():
        chosen = settings.training_of(name)
        if (
            chosen.select_metric == "c_index"
            and chosen.checkpoint_selection != "last"
            and not network.ranks()
        ):
            raise SettingsError(
                f"model {name!r} chooses its weights by C-index, and it does not predict survival",
                where="training.select_metric: c_index",
                action=f"set models.{name}.training.select_metric: loss",
            )
        if chosen.checkpoint_selection == "best_test" and settings.plan.folds == 1:
            raise SettingsError(
                f"model {name!r} chooses its weights on test patients, and there are none",
                where="training.checkpoint_selection: best_test with plan.folds: 1",
                action="set training.checkpoint_selection: best_validation or last",
            )
        if chosen.checkpoint_selection == "best_validation" and settings.plan.validation_fraction == 0:
            raise SettingsError(
                f"model {name!r} chooses its weights on validation patients, and there are none",
                where="training.checkpoint_selection: best_validation with plan.validation_fraction: 0",
                action="set plan.validation_fraction above 0, or training.checkpoint_selection: last",
            )
    _require_starts(settings)
    for name in settings.deep_sources():
        if settings.training_of(name).checkpoint_selection == "best_test":
            raise SettingsError(
                f"model {name!r} gives deep features, and chooses its weights on the patients whose "
                "features are used",
                where="training.checkpoint_selection: best_test",
                action="set training.checkpoint_selection: best_validation or last for this model",
            )
    return settings


def _require_starts(settings: Settings) -> None:
    """Every network that another one starts from is of this study, and no chain of them is a ring."""
    starts = {name: settings.training_of(name).pretrained_from for name in settings.networks()}
    for name, start in starts.items():
        if start and start not in starts:
            raise SettingsError(
                f"model {name!r} starts from {start!r}, which is no network of this study",
                where="training.pretrained_from",
                expected=", ".join(sorted(set(starts) - {name})) or "empty: there is no other network",
            )
    for name in starts:
        chain = [name]
        while start := starts[chain[-1]]:
            chain.append(start)
            if start in chain[:-1]:
                raise SettingsError(
                    "models start from one another in a ring: " + " → ".join(chain),
                    where="training.pretrained_from",
                    action="set it in the later model's own `training`, not for all models",
                )
