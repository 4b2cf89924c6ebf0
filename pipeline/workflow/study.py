"""A study as its settings and its cohort table describe it, before any stage has run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import SettingsError
from pipeline.settings.messages import require_single_keys
from pipeline.settings.models import Model
from pipeline.settings.network import Network
from pipeline.settings.root import Settings, load_settings
from pipeline.settings.study_file import Places
from pipeline.tables.cohort import OPTIONAL, REQUIRED, Cohort, endpoint_columns, read_cohort
from pipeline.tables.preflight import (
    require_columns,
    require_outcomes,
    require_subgroups,
    require_subsets,
    require_times_of_disks,
)


def load_study(config: Mapping[str, Any], files: Iterable[str | Path] = ()) -> Study:
    """Validate a study's configuration and read its cohort table.

    Args:
        config: The configuration as Snakemake merged it.
        files: The YAML files it came from, in which no key may stand twice.

    Raises:
        SettingsError: A key is unknown, missing or wrong, or a model needs what the table lacks.
        TableError: The cohort table cannot be read.
    """
    paths = [Path(path) for path in files]
    require_single_keys(paths)
    try:
        return _study(config, paths)
    except SettingsError as error:
        raise Places(paths).added(error) from None


def _study(config: Mapping[str, Any], files: Sequence[Path]) -> Study:
    """Settings and table, each against the other."""
    settings = load_settings(config, files)
    cohort = read_cohort(settings.cohort, settings.study.on_bad_patient)
    require_columns(settings.models, cohort)
    require_subsets(settings.networks(), cohort)
    require_subgroups(settings.evaluation.subgroups, cohort)
    if settings.disks is not None:
        require_times_of_disks(settings.cohort, cohort)
    require_outcomes(settings.cohort, settings.models, settings.balanced(), cohort)
    return Study(settings, cohort)


@dataclass(frozen=True)
class Study:
    """Settings, cohort table, and what follows from them for the workflow's graph.

    Attributes:
        settings: All settings, validated.
        cohort: Usable patients of the cohort table, and what is wrong with the others.
    """

    settings: Settings
    cohort: Cohort

    @property
    def name(self) -> str:
        """Name of the study's folder below `results/`."""
        return self.settings.study.name

    @property
    def from_scanner(self) -> bool:
        """Whether images are PET/CT volumes, which are converted, registered and cropped."""
        return self.settings.cohort.source in ("dicom", "nifti")

    @property
    def is_phantom(self) -> bool:
        """Whether the study writes its own images, those of the embedded cohort."""
        return self.settings.generates_dicom()

    @property
    def uses_template(self) -> bool:
        """Whether patients are registered to a template patient."""
        return self.from_scanner and self.settings.registration.method == "template"

    @property
    def uses_crop_position(self) -> bool:
        """Whether one position of the crop is chosen for all patients."""
        return self.from_scanner and self.settings.crop.position == "fixed"

    @property
    def native_stages(self) -> tuple[str, ...]:
        """Stages of native volumes and, where a PET may have a frame of its own, of its registration."""
        cohort, index = self.settings.cohort, self.settings.index
        registers = cohort.source == "dicom" and index.different_frames == "register"
        return ("convert", "suv", "contours", *(("registration",) if registers else ()))

    @property
    def uses_radiomics(self) -> bool:
        """Whether handcrafted features are extracted."""
        return self.settings.radiomics.enabled and self.from_scanner

    @property
    def uses_stability(self) -> bool:
        """Whether features are extracted under perturbed contours too."""
        return self.uses_radiomics and self.settings.needs_stability()

    @cached_property
    def regions(self) -> tuple[str, ...]:
        """Regions of the manual contour that feature tables of their own are made of."""
        return self.settings.region_tables()

    @cached_property
    def networks(self) -> dict[str, Network]:
        """Networks by name, sorted by it."""
        return dict(sorted(self.settings.networks().items()))

    @cached_property
    def classical(self) -> dict[str, Model]:
        """Classical survival models by name, sorted by it."""
        return dict(sorted(self.settings.classical().items()))

    @cached_property
    def ensembles(self) -> dict[str, tuple[str, ...]]:
        """Ensemble → its models: every model alone, then the ensembles that the study names."""
        return {**{name: (name,) for name in self.settings.models}, **self.settings.ensembles}

    @property
    def explained(self) -> list[str]:
        """Networks whose attribution maps are made."""
        return sorted(self.settings.explain.models)

    @property
    def detectors(self) -> list[str]:
        """Networks that find boxes around lesions."""
        return [name for name, network in self.networks.items() if "detection" in network.gives()]

    @property
    def permuted(self) -> list[str]:
        """Networks whose test patients are predicted with permuted inputs, too."""
        asked = self.settings.evaluation.importance_permutations and self.settings.plan.folds > 1
        return [name for name, network in self.networks.items() if asked and network.ranks()]

    @property
    def subsets(self) -> dict[str, str]:
        """Network → the part of the cohort that it is trained on, of those that have one."""
        return {name: network.subset for name, network in self.networks.items() if network.subset}

    def cohort_columns(self) -> set[str]:
        """Columns that the cohort table may have beside those of patients' own values, under its own names."""
        cohort = self.settings.cohort
        names = {*REQUIRED, *OPTIONAL, *endpoint_columns(cohort)}
        return {cohort.columns.get(name, name) for name in {*names, *self.cohort.patients[0].extra}}

    @property
    def folds(self) -> range:
        """Numbers of the folds, all repeats counted through."""
        return range(self.settings.plan.runs)

    @property
    def cross_folds(self) -> range:
        """Numbers of the networks trained without a part of a fold's training patients."""
        return range(self.settings.plan.runs * self.settings.plan.cross_parts)
