"""All settings of a study, validated once."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError, model_validator

from pipeline.errors import SettingsError
from pipeline.settings.base import Section
from pipeline.settings.cohort import CohortSettings
from pipeline.settings.dicom import ContourSettings, ConvertSettings, IndexSettings, SuvSettings
from pipeline.settings.evaluation import EvaluationSettings, ReportSettings
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.settings.models import ModelEntry
from pipeline.settings.network import Network
from pipeline.settings.phantom import PhantomSettings
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
    report: ReportSettings = Field(default_factory=ReportSettings)
    threads: ThreadSettings = Field(default_factory=ThreadSettings)

    @model_validator(mode="after")
    def _names_agree(self) -> Settings:
        for name in (*self.models, *self.ensembles):
            if not name.replace("_", "").isalnum() or not name[0].isalpha() or len(name) < 2:
                raise ValueError(f"model name {name!r} must be letters, digits and _")
        for name, members in self.ensembles.items():
            if name in self.models:
                raise ValueError(f"ensemble {name!r} has the name of a model")
            for member in members:
                if member not in self.models:
                    raise ValueError(
                        f"ensemble {name!r} names {member!r}, which is not among the models: "
                        + ", ".join(self.models)
                    )
        compared = self.evaluation.compare_with
        if compared and compared not in (*self.models, *self.ensembles):
            raise ValueError(f"evaluation.compare_with names {compared!r}, which is no model")
        over = self.evaluation.added_value_over
        if over and over not in (*self.models, *self.ensembles):
            raise ValueError(f"evaluation.added_value_over names {over!r}, which is no model")
        return self

    def networks(self) -> dict[str, Network]:
        """Models trained by gradient descent."""
        return {name: m for name, m in self.models.items() if isinstance(m, Network)}

    def classical(self) -> dict[str, ModelEntry]:
        """Models fitted by scikit-survival and lifelines."""
        return {name: m for name, m in self.models.items() if not isinstance(m, Network)}

    def training_of(self, name: str) -> TrainingSettings:
        """The training section with a model's overrides."""
        return merge_training(self.training, self.networks()[name].training)


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
        raise SettingsError(explain(error, TrainingSettings)) from None


def load_settings(config: Mapping[str, Any]) -> Settings:
    """Validate a study's configuration.

    Raises:
        SettingsError: Naming each wrong key, what was expected, and the nearest valid key.
    """
    try:
        settings = Settings.model_validate(config)
    except ValidationError as error:
        raise SettingsError(explain(error, Settings)) from None
    for name in settings.networks():
        if settings.training_of(name).select == "best_inner" and settings.plan.inner_fraction == 0:
            raise SettingsError(
                f"model {name!r} chooses its weights on inner validation patients, and there are none",
                where="training.select: best_inner with plan.inner_fraction: 0",
                action="set plan.inner_fraction above 0, or training.select: last",
            )
    return settings


def explain(error: ValidationError, model: type[Section]) -> str:
    """Every problem of a validation in one readable line each."""
    lines = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "the settings"
        if item["type"] == "extra_forbidden":
            lines.append(f"settings: unknown key {where!r}" + _nearest(model, item["loc"]))
        else:
            got = f", got {item['input']!r}" if not isinstance(item["input"], dict) else ""
            lines.append(f"settings: {where}: {item['msg'].removeprefix('Value error, ')}{got}")
    return "\n".join(lines)


def _nearest(model: type[Section], location: tuple[int | str, ...]) -> str:
    valid = _keys_at(model, location[:-1])
    close = difflib.get_close_matches(str(location[-1]), valid, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; valid here: {', '.join(valid)}" if valid else ""


def _keys_at(model: type[Section], location: tuple[int | str, ...]) -> list[str]:
    current: Any = model.model_json_schema()
    definitions = current.get("$defs", {})
    for part in location:
        if not isinstance(current, dict):
            return []
        options = current.get("properties", {})
        if part in options:
            current = _resolve(options[str(part)], definitions, None)
        elif "additionalProperties" in current:
            current = current["additionalProperties"]
        else:  # the tag of a discriminated union, or an index
            current = _resolve(current, definitions, str(part))
    return list(current.get("properties", {})) if isinstance(current, dict) else []


def _resolve(schema: Any, definitions: Any, tag: str | None) -> Any:
    if tag is not None and "discriminator" in schema:
        schema = {"$ref": schema["discriminator"]["mapping"].get(tag, "")}
    for key in ("allOf", "anyOf"):
        if key in schema:
            schema = schema[key][0]
    if "$ref" in schema:
        return definitions.get(schema["$ref"].rsplit("/", 1)[-1], {})
    return schema
