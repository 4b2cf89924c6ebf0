"""All settings of a study, validated once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import SettingsError
from pipeline.settings import consistency, contour_consistency
from pipeline.settings.base import Section
from pipeline.settings.chest_phantom import ChestSliceSettings
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.evaluation import EvaluationSettings, ReportSettings
from pipeline.settings.explain import ExplainSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.image_channels import require_channels
from pipeline.settings.ingest import IngestSettings
from pipeline.settings.kinds import ModelEntry, ranking
from pipeline.settings.messages import explain, not_finite
from pipeline.settings.network import Network
from pipeline.settings.paper import PaperSettings, with_named_paper
from pipeline.settings.paper_consistency import require_paper
from pipeline.settings.phantom import DiskSettings, PhantomSettings
from pipeline.settings.plan import PlanSettings
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.settings.study import BundleSettings, ResourceSettings, StudySettings, ThreadSettings
from pipeline.settings.study_file import Places
from pipeline.settings.training import TrainingSettings


class Settings(Section):
    """A study."""

    study: StudySettings
    cohort: CohortSettings
    phantom: PhantomSettings | None = Field(
        None,
        description="Only in a study whose DICOM files the phantom's generator makes: where "
        "`cohort.image_root` is `results/{study.name}/phantom`.",
    )
    disks: DiskSettings | None = Field(
        None, description="Only in a study whose images are generated disks: `cohort.source: generated`."
    )
    chest_slices: ChestSliceSettings | None = Field(
        None,
        description="Only in a study whose images are generated chest slices: `cohort.source: generated`.",
    )
    index: IndexSettings = Field(default_factory=IndexSettings)
    convert: ConvertSettings = Field(default_factory=ConvertSettings)
    suv: SuvSettings = Field(default_factory=SuvSettings)
    contours: ContourSettings = Field(default_factory=ContourSettings)
    registration: RegistrationSettings = Field(default_factory=RegistrationSettings)
    crop: CropSettings = Field(default_factory=CropSettings)
    ingest: IngestSettings = Field(default_factory=IngestSettings)
    radiomics: RadiomicsSettings = Field(default_factory=RadiomicsSettings)
    plan: PlanSettings = Field(default_factory=PlanSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    models: dict[str, ModelEntry] = Field(
        min_length=1,
        description="Models by the name they get in tables and figures: `{name: {kind: …}}`, at least one.",
    )
    ensembles: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="Averages of several models' Z-scores: `{name: [models]}`. Every model's own "
        "folds are averaged in any case.",
    )
    evaluation: EvaluationSettings = Field(default_factory=EvaluationSettings)
    explain: ExplainSettings = Field(default_factory=ExplainSettings)
    report: ReportSettings = Field(default_factory=ReportSettings)
    paper: PaperSettings | None = Field(
        None,
        description="The paper that the study repeats: its tables and figures as printed, each cell with the model "
        "that fills it. Or the name of a study file of this checkout, whose section is taken.",
    )
    bundle: BundleSettings = Field(default_factory=BundleSettings)
    threads: ThreadSettings = Field(default_factory=ThreadSettings)
    resources: ResourceSettings = Field(default_factory=ResourceSettings)

    @model_validator(mode="before")
    @classmethod
    def _name_missing_keys(cls, values: Any) -> Any:
        """An absent section is told by its key that is missing."""
        return {"study": {}, "cohort": {}, **values} if isinstance(values, Mapping) else values

    @model_validator(mode="after")
    def _masks_have_the_classes(self) -> Settings:
        """The networks whose masks tell classes apart are given the study's."""
        for name, network in self.networks().items():
            classes = contour_consistency.mask_classes_of(self, name, network)
            if classes != network.losses.mask_classes:
                losses = network.losses.model_copy(update={"mask_classes": classes})
                self.models[name] = network.model_copy(update={"losses": losses})
        return self

    @model_validator(mode="after")
    def _sections_agree(self) -> Settings:
        consistency.require_names(self)
        consistency.require_generators(self)
        require_channels(self)
        contour_consistency.require_contours(self)
        consistency.require_subsets(self)
        consistency.require_boxes(self)
        contour_consistency.require_classes(self)
        consistency.require_deep_sources(self)
        require_paper(self)
        consistency.require_comparisons(self)
        consistency.require_units(self)
        consistency.require_risks(self)
        return self

    def generates_dicom(self) -> bool:
        """Whether the phantom's generator makes the study's DICOM files."""
        return Path(self.cohort.image_root) == Path("results", self.study.name, "phantom")

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

    def bundled(self) -> str:
        """The model or ensemble that is packed."""
        named = self.bundle.ensemble or self.evaluation.compare_with
        several = [name for name, members in self.ensembles.items() if len(members) > 1]
        return named or [*several, *ranking(self.models), *self.models][0]

    def networks(self) -> dict[str, Network]:
        """Models trained by gradient descent on images."""
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

    def starts_of(self, name: str) -> tuple[str, ...]:
        """What a network's initial weights come from, the nearest first: networks, and perhaps a path at the end.

        A start learned from its own start, so that what either has seen is in the network's weights.
        """
        chain: list[str] = []
        # A ring ends here, and is refused by require_pretrained, as is a start that is no network.
        while (start := self.training_of(name).pretrained_from) and start not in chain:
            chain.append(start)
            if start not in self.networks():
                break
            name = start
        return tuple(chain)


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


def load_settings(config: Mapping[str, Any], files: Sequence[Path] = ()) -> Settings:
    """Validate a study's configuration.

    Args:
        config: A study file as plain values.
        files: Files that it was read from, for the lines in messages.

    Raises:
        SettingsError: Naming each wrong key, what was expected, and the nearest valid key.
    """
    if endless := list(not_finite(config)):
        places = Places(files)
        lines = (
            f"settings: {'.'.join(keys)} must be a finite number ({places.at(keys)})" for keys in endless
        )
        raise SettingsError("\n".join(line.replace(" ()", "") for line in lines))
    try:
        settings = Settings.model_validate(with_named_paper(config))
    except ValidationError as error:
        raise SettingsError(explain(error, Settings, places=Places(files))) from None
    consistency.require_checkpoint_selection(settings)
    consistency.require_pretrained(settings)
    return settings
