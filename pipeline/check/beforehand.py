"""What settings and cohort table alone tell of a study: what would fail later, after hours of other work.

Asked at every start of the workflow, a dry run included; nothing heavy is imported and no image is read.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.errors import PipelineError, SettingsError
from pipeline.settings.classical import FeatureSelecting
from pipeline.settings.crop_sizes import memory_problems, size_problems
from pipeline.tables.numbers import MISSING, is_number, likeness
from pipeline.workflow.study import Study

MOST_NUMBERS = 10
"""Different numbers in a column above which a word in it is a slip (`pipeline.tables.clinical`)."""


def require_possible(study: Study) -> None:
    """Refuse a study of which settings and table tell that it cannot end well.

    Raises:
        SettingsError: A line for each thing to correct.
    """
    problems = [str(error).rstrip(".") for error in problems_beforehand(study)]
    if problems:
        raise SettingsError("\n".join(problems))


def problems_beforehand(study: Study) -> Iterator[PipelineError]:
    """What cannot end well, by settings and table."""
    settings = study.settings
    if study.from_scanner:
        yield from memory_problems(settings.crop.shape, len(settings.crop.channels), settings.crop.margin)
        yield from size_problems(study.networks, settings.crop.shape)
    elif generated := settings.disks or settings.chest_slices:
        yield from size_problems(study.networks, (1, generated.size_px, generated.size_px))
    yield from _file_problems(study)
    yield from _quantity_problems(study)
    yield from _feature_problems(study)
    yield from _covariate_problems(study)


def unread_columns(study: Study, header: Sequence[str] = ()) -> list[str]:
    """Columns of the cohort table that nothing in the study reads.

    Args:
        study: Settings and cohort table.
        header: All columns of the table as read; empty: clinical and label columns alone are looked at.
    """
    settings = study.settings
    read = {column for model in settings.models.values() for _, column in model.columns()}
    read |= set(settings.evaluation.subgroups)
    extra = study.cohort.patients[0].extra
    unread = [name for name in extra if name.startswith(("clinical_", "label_")) and name not in read]
    known = {*extra, *study.cohort_columns()}
    return [*unread, *(name for name in header if name not in known)]


def models_without_features(study: Study) -> Iterator[PipelineError]:
    """Models that take radiomics features in a study that extracts none; told by `suvival check`."""
    if study.uses_radiomics:
        return
    for name, model in study.settings.models.items():
        if model.needs.radiomics:
            yield SettingsError(
                f"model {name!r} takes radiomics features, and the study has none",
                where=f"models.{name}",
                expected="radiomics.enabled: true, and cohort.source dicom or nifti",
                action="remove the model, or change these settings",
            )


def unused_settings(study: Study) -> Iterator[str]:
    """Settings of models that have nothing to work on by the cohort table; told by `suvival check`."""
    development = [p for p in study.cohort.patients if p.set == "development"]
    for name, model in study.settings.models.items() if development else ():
        for key, column in model.columns():
            if key == "clinical" and all(
                p.extra[column].strip().lower() in {"", *MISSING} for p in development
            ):
                yield (
                    f"column {column!r} is blank for all development patients, so model {name!r} learns nothing from "
                    f"it; where: models.{name}.{key}; fill the column, or take it out of the model"
                )
        if (
            isinstance(model, FeatureSelecting)
            and model.harmonise == "combat"
            and len({p.centre for p in development}) < 2
        ):
            yield (
                f"model {name!r} harmonises features of centres, and all development patients are of one; where: "
                f"models.{name}.harmonise; fill the table's column centre, or set harmonise: none"
            )


def _file_problems(study: Study) -> Iterator[PipelineError]:
    """Files that the settings name and that are not there."""
    crop, template = study.settings.crop, study.settings.registration.template
    if study.from_scanner and crop.position == "box" and not Path(crop.boxes).is_file():
        yield SettingsError(
            "the table of boxes does not exist",
            where="crop.boxes",
            expected="a CSV with the columns patient_id, x1, x2, y1, y2, z1, z2 (LPS mm)",
            got=crop.boxes,
            action="correct the path",
        )
    development = study.cohort.ids("development")
    if study.uses_template and template not in ("auto", *development) and not Path(template).is_file():
        near = difflib.get_close_matches(template, development, n=3, cutoff=0.4) or development[:3]
        yield SettingsError(
            "the template is neither a development patient nor a file",
            where="registration.template",
            expected=f"auto, a NIfTI file, or a patient such as {', '.join(near)}",
            got=template,
            action="correct registration.template",
        )


def _quantity_problems(study: Study) -> Iterator[PipelineError]:
    cohort = study.settings.cohort
    if cohort.source == "nifti" and cohort.nifti_pet and cohort.nifti_pet_quantity == "undeclared":
        yield SettingsError(
            "a NIfTI cohort must declare what its PET holds: the file cannot say",
            where="cohort.nifti_pet_quantity",
            expected="suvbw (g/mL)",
            got="undeclared",
            action="set it to suvbw where the PET is in SUVbw, else convert the PET, or start from DICOM",
        )


def _feature_problems(study: Study) -> Iterator[PipelineError]:
    """Patterns of features that no column of the study's feature tables has."""
    settings = study.settings
    asking = {name: model.needs for name, model in settings.models.items() if model.needs.radiomics}
    if not asking or not study.uses_radiomics:
        return
    from pipeline.radiomics.feature_table import value_columns
    from pipeline.radiomics.sets import load_feature_set

    try:
        columns = value_columns(load_feature_set(settings.radiomics), tuple(settings.contours.classes))
    except SettingsError as error:
        yield error
        return
    for name, needs in asking.items():
        for pattern in needs.features:
            if not any(fnmatch.fnmatchcase(column, pattern) for column in columns):
                near = difflib.get_close_matches(pattern, columns, n=3, cutoff=0.4)
                yield SettingsError(
                    f"no feature is named {pattern!r}",
                    where=f"models.{name}, radiomics.feature_set: {settings.radiomics.feature_set}",
                    expected=", ".join(near) or f"one of {len(columns)} columns of the feature table",
                    action="correct the name, or take a feature set that has it",
                )


def _covariate_problems(study: Study) -> Iterator[PipelineError]:
    """Columns of numbers that models read, with a cell that is none."""
    table = study.settings.cohort.table
    read = sorted({column for model in study.settings.models.values() for _, column in model.columns()})
    for column in read:
        cells = {p.patient_id: p.extra[column].strip() for p in study.cohort.patients}
        known = {patient: text for patient, text in cells.items() if text and text.lower() not in MISSING}
        words = {patient: text for patient, text in known.items() if not is_number(text)}
        numbers = {text for text in known.values() if is_number(text)}
        slips = {patient: text for patient, text in words.items() if likeness(text)}
        if not words or (len(numbers) <= MOST_NUMBERS and not (slips and numbers)):
            continue
        patient, text = next(iter((slips or words).items()))
        yield SettingsError(
            f"column {column!r} holds numbers and text",
            where=f"{table}, patient {patient}",
            expected="numbers with a decimal point, blank where one is not known; or text of few levels",
            got=repr(text) + likeness(text) + (f" and {len(words) - 1} more" if len(words) > 1 else ""),
            action="correct these cells, or leave them blank",
        )
