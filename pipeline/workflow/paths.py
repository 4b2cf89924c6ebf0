"""Where the files of a study lie, and which of them each rule reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pipeline.provenance import ROOT
from pipeline.settings.training import is_file_of_weights
from pipeline.tables.files import MASK_PATH, files_among, files_digest
from pipeline.tables.frozen_selection import frozen_patients
from pipeline.workflow.study import Study

PATIENT, MODEL, FOLD = "{patient}", "{model}", "{fold}"
"""Wildcards of Snakemake: a method called without a value gives the pattern of a rule's output."""


@dataclass(frozen=True)
class StudyPaths:
    """Every path of a study below `results/{study}`, relative to the working directory.

    Attributes:
        study: Settings and cohort table.
        checkout: The repository, which holds named feature sets.
    """

    study: Study
    checkout: Path = ROOT

    # Files of the whole study.

    @property
    def results(self) -> str:
        """Folder of everything that the study writes."""
        return f"results/{self.study.name}"

    @property
    def exclusions(self) -> str:
        """Table of what every stage said of every patient."""
        return f"{self.results}/problems.csv"

    @property
    def splits(self) -> str:
        """Patients by fold and set."""
        return f"{self.results}/splits.json"

    @property
    def cohort(self) -> str:
        """Outcomes and clinical values of all usable patients."""
        return f"{self.results}/cohort.parquet"

    @property
    def training_plan(self) -> str:
        """What training will do, with every default resolved."""
        return f"{self.results}/plan.json"

    @property
    def cross_splits(self) -> str:
        """Each fold's training patients in parts."""
        return f"{self.results}/cross_splits.json"

    @property
    def template(self) -> str:
        """Folder of the template patient."""
        return f"{self.results}/template"

    @property
    def crop_position(self) -> str:
        """Where all crops are cut."""
        return f"{self.results}/crop_position.json"

    def frozen(self, decision: str) -> str:
        """List of the patients that a decision is made from: `template` or `crop_position`."""
        return f"{self.results}/frozen/{decision}.json"

    @property
    def absent(self) -> str:
        """List of the patients whose images were missing when the last run began."""
        return f"{self.results}/absent_images.json"

    @property
    def stability(self) -> str:
        """Agreement of each feature over perturbed contours."""
        return f"{self.results}/radiomics/stability.parquet"

    @property
    def stability_summary(self) -> str:
        """The same, summarised for the report."""
        return f"{self.results}/radiomics/stability.csv"

    @property
    def metrics(self) -> str:
        """Folder of metrics and comparisons."""
        return f"{self.results}/metrics"

    @property
    def report(self) -> str:
        """Folder of the report."""
        return f"{self.results}/report"

    @property
    def bundle(self) -> str:
        """Folder of the bundle that predicts new patients."""
        return f"{self.results}/bundle"

    # Files of one patient, model, fold or job.

    def log(self, job: str) -> str:
        """Log of a job, named by its rule and wildcards, e.g. `suv/{patient}`."""
        return f"{self.results}/logs/{job}.log"

    def benchmark(self, job: str) -> str:
        """Time and memory of a job, named like its log."""
        return f"{self.results}/benchmarks/{job}.tsv"

    def stage(self, stage: str, patient: str = PATIENT) -> str:
        """Folder that a stage leaves of a patient: phantom, index, convert, suv, contours or registration."""
        return f"{self.results}/{stage}/{patient}"

    def crop(self, patient: str = PATIENT) -> str:
        """Store of a patient's crop."""
        return f"{self.results}/crops/{patient}.zarr"

    def radiomics(self, patient: str = PATIENT, region: str = "manual") -> str:
        """Features of a patient, inside the manual contour or a region of it."""
        folder = "radiomics" if region == "manual" else f"radiomics/{region}"
        return f"{self.results}/{folder}/{patient}.parquet"

    def feature_table(self, region: str = "manual") -> str:
        """Features of all patients, inside the manual contour or a region of it."""
        ending = "" if region == "manual" else f"_{region}"
        return f"{self.results}/radiomics/features{ending}.parquet"

    def predicted_features(self, network: str = "{network}", fold: int | str = FOLD) -> str:
        """Features inside the contours that a network drew, of patients its fold was not trained on."""
        return f"{self.results}/radiomics/predicted/{network}/fold{fold}.parquet"

    def perturbed_features(self, patient: str = PATIENT) -> str:
        """Features of a patient under perturbed contours."""
        return f"{self.results}/radiomics/stability/{patient}.parquet"

    def fold(self, model: str = MODEL, fold: int | str = FOLD) -> str:
        """Folder of a model trained in a fold."""
        return f"{self.results}/models/{model}/fold{fold}"

    def cross(self, model: str = MODEL, number: int | str = FOLD) -> str:
        """Folder of a network trained without a part of a fold's training patients."""
        return f"{self.results}/models/{model}/cross{number}"

    def checkpoints(self, model: str, fold: str) -> str:
        """Checkpoints of a training: no output, as Snakemake removes the outputs of a stopped job."""
        return f"{self.results}/checkpoints/{model}_{fold}"

    def refits(self, what: str, model: str = MODEL) -> str:
        """What refits of a classical model say: `permutations` of its risk groups, or its `validation`."""
        return f"{self.results}/models/{model}/{what}.json"

    def ensemble(self, name: str = "{ensemble}") -> str:
        """Risks of an ensemble, averaged over folds and models."""
        return f"{self.results}/ensemble/{name}.parquet"

    def ensemble_info(self, name: str = "{ensemble}") -> str:
        """Mean and standard deviation of each fold's risks."""
        return f"{self.results}/ensemble/{name}.json"

    def explanation(self, model: str = MODEL) -> str:
        """Attribution maps of a network."""
        return f"{self.results}/explain/{model}"

    # Which files a rule reads. An empty list: the rule needs none in this study.

    def image_folder(self, patient: str) -> str:
        """Folder (or file) of a patient's images as the cohort table names it."""
        return str(Path(self.study.settings.cohort.image_root, self.study.cohort[patient].image_path))

    def images_of(self, patient: str) -> str | list[str]:
        """Input of a patient's first stage; a missing folder is reported by that stage."""
        if self.study.is_phantom:
            return self.stage("phantom", patient)
        folder = self.image_folder(patient)
        return folder if os.path.exists(folder) else []

    def files_of(self, patient: str) -> str:
        """Digest of what lies in a patient's folder, of which Snakemake sees only its own time."""
        return "" if self.study.is_phantom else files_digest(Path(self.image_folder(patient)))

    def masks_of(self, patient: str) -> list[str]:
        """Mask files outside the patient's folder that the cohort table's `roi` names."""
        return files_among(self.mask_paths(patient))

    def slice_mask(self, patient: str) -> list[str]:
        """Mask file of a slice, which the cohort table's `roi` names from the folder of the image."""
        image, roi = Path(self.image_folder(patient)), self.study.cohort[patient].roi
        return files_among([str(image.parent / roi)] * bool(roi and not image.is_dir()))

    def mask_paths(self, patient: str) -> list[str]:
        """Entries of the cohort table's `roi` that name a file, without the labels that may follow."""
        entries = (entry.strip() for entry in self.study.cohort[patient].roi.split(";"))
        return [match[1] for match in map(MASK_PATH.match, entries) if match]

    def template_of(self) -> str | list[str]:
        """The template, where patients are registered to one."""
        return self.template if self.study.uses_template else []

    def position_of(self) -> str | list[str]:
        """The position of the crop, where all patients share one."""
        return self.crop_position if self.study.uses_crop_position else []

    def template_candidates(self) -> list[str]:
        """Converted images of the patients that the template is chosen from."""
        return [self.stage("convert", patient) for patient in self._candidates("template")]

    def position_candidates(self) -> list[str]:
        """Patients that the position of the crop is chosen from."""
        return self._candidates("crop_position")

    def _candidates(self, decision: str) -> list[str]:
        return frozen_patients(Path(self.frozen(decision)), self.study.cohort.ids("development"))

    def named_template(self) -> list[str]:
        """The file that the study names as template, if it names one."""
        return files_among([self.study.settings.registration.template])

    def boxes(self) -> list[str]:
        """The table of boxes that crops are cut at, where the study gives one."""
        crop = self.study.settings.crop
        return files_among([crop.boxes]) if crop.position == "box" else []

    def crops(self, which: str | None = None) -> list[str]:
        """Crops of all patients, or of one set."""
        return [self.crop(patient) for patient in self.study.cohort.ids(which)]

    def stages_of(self, patient: str) -> list[str]:
        """What the stages leave of a patient, in their order."""
        stages = ["index"] if self.study.settings.cohort.source == "dicom" else []
        if self.study.from_scanner:
            stages += ["convert", "suv", "contours", "registration"]
        regions = ("manual", *self.study.regions) if self.study.uses_radiomics else ()
        return [
            *(self.stage(stage, patient) for stage in stages),
            self.crop(patient),
            *(self.radiomics(patient, region) for region in regions),
        ]

    def stages(self, which: str | None = None) -> list[str]:
        """What the stages leave of all patients, or of one set."""
        return [path for patient in self.study.cohort.ids(which) for path in self.stages_of(patient)]

    def feature_set(self) -> str:
        """File of the study's feature set: a named one of the repository, or the path itself."""
        name = self.study.settings.radiomics.feature_set
        named = self.checkout / "config" / "radiomics" / f"{name}.yaml"
        if not named.exists():
            return name
        # With --directory the results lie elsewhere, and the repository is named in full.
        return str(named.relative_to(Path.cwd()) if named.is_relative_to(Path.cwd()) else named)

    def native_stages(self, patient: str = PATIENT) -> list[str]:
        """What a patient's features and PET metrics read of native volumes."""
        return [self.stage(stage, patient) for stage in self.study.native_stages]

    def crops_of_features(self) -> list[str]:
        """The crop, where features are extracted from it; none where they come from native volumes."""
        return [] if self.study.settings.radiomics.images == "native" else [self.crop()]

    def features_of_patients(self, region: str = "manual") -> list[str]:
        """Features of every patient, inside the manual contour or a region of it."""
        return [self.radiomics(patient, region) for patient in self.study.cohort.ids()]

    def radiomics_tables(self) -> list[str]:
        """Feature tables of the regions that the study names beside the whole manual contour."""
        return [self.feature_table(region) for region in self.study.regions]

    def features_of(self, model: str) -> str | list[str]:
        """The feature table of a classical model's contour; one per fold where a network drew it."""
        needs = self.study.settings.models[model].needs
        if not self.study.uses_radiomics or not needs.radiomics:
            return []
        if needs.contour == "predicted":
            return [self.predicted_features(needs.contour_network, fold) for fold in self.study.folds]
        return self.feature_table(needs.contour)

    def features_in_report(self) -> str | list[str]:
        """The feature table of the manual contour, where a model of the study reads it."""
        table = self.feature_table()
        return table if any(self.features_of(model) == table for model in self.study.classical) else []

    def stability_of(self, model: str) -> str | list[str]:
        """Stability of features, where a model drops unstable ones."""
        needed = self.study.uses_radiomics and self.study.settings.models[model].needs.min_icc > 0
        return self.stability if needed else []

    def initial_weights(self, model: str, fold: str) -> str | list[str]:
        """The same fold of the model whose weights training starts from, where the study names one."""
        start = self.study.settings.training_of(model).pretrained_from
        own: str | list[str] = self.fold(start, fold) if start else []
        return start.replace(FOLD, fold) if is_file_of_weights(start) else own

    def cross_weights(self, model: str, number: str) -> str | list[str]:
        """The start of a cross network: a cross network too, trained on no more patients."""
        start = self.study.settings.training_of(model).pretrained_from
        return self.cross(start, number) if start else []

    def cross_networks(self, model: str) -> list[str]:
        """Networks that give a classical model its deep features, fold by fold, part by part."""
        source = self.study.settings.models[model].needs.deep
        return [self.cross(source, number) for number in self.study.cross_folds] if source else []

    def cross_splits_of(self, model: str) -> str | list[str]:
        """Parts of the folds, where a classical model takes deep features."""
        return self.cross_splits if self.cross_networks(model) else []

    def folds(self, *models: str) -> list[str]:
        """Folders of all folds of models."""
        return [self.fold(model, fold) for model in models for fold in self.study.folds]

    def members_of(self, ensemble: str) -> list[str]:
        """Folders of all folds of an ensemble's models."""
        return self.folds(*self.study.ensembles[ensemble])
