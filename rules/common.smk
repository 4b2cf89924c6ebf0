# Paths, the code digest and the settings that rules are given; no stage lives here.
import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(workflow.basedir).resolve()
sys.path.insert(0, str(ROOT))
from snakemake.exceptions import WorkflowError

from pipeline.console import accelerators, prepare_environment
from pipeline.errors import PipelineError
from pipeline.provenance import code_digest
from pipeline.settings.yaml_duplicates import require_single_keys
from pipeline.settings.root import load_settings
from pipeline.tables.preflight import (
    preflight_warnings,
    outcomes_told,
    require_columns,
    require_outcomes,
)
from pipeline.tables.cohort import read_cohort
from pipeline.tables.files import files_digest, orphan_folders
from pipeline.tables.frozen_selection import pinned_patients
from pipeline.planning.folds import infeasible_plan_reason

prepare_environment(ROOT)

try:
    require_single_keys(map(Path, workflow.configfiles))
    settings = load_settings(config)
    cohort = read_cohort(settings.cohort, settings.study.on_bad_patient)
    require_columns(settings.models, cohort)
    require_outcomes(settings.cohort, settings.models, settings.balanced(), cohort)
except PipelineError as error:
    raise WorkflowError(str(error)) from None

STUDY = settings.study.name
R = f"results/{STUDY}"
# Checkpoints and finished trainings: no outputs, which Snakemake removes when a job is stopped.
WORK = f"{R}/work"
POLICY = settings.study.on_bad_patient
SOURCE = settings.cohort.source
FROM_SCANNER = SOURCE in ("dicom", "nifti")
# The embedded cohort makes its own images.
IS_PHANTOM = Path(settings.cohort.image_root) == Path(R, "phantom")
NETWORKS = sorted(settings.networks())
CLASSICAL = sorted(settings.classical())
ENSEMBLES = {**{name: (name,) for name in settings.models}, **settings.ensembles}
FOLDS = range(settings.plan.runs)


# A fold asks for one accelerator unless the study trains on the CPU; a scheduler grants it.
GPUS_PER_FOLD = 0 if settings.training.device == "cpu" else 1
if workflow.local_exec and accelerators() and "gpu" not in workflow.global_resources:
    # Here folds share no card unasked; --resources gpu=2 runs two at once.
    workflow.register_resource("gpu", 1)


wildcard_constraints:
    patient="|".join(cohort.ids()) or "none",
    model="|".join(settings.models) or "none",
    ensemble="|".join(ENSEMBLES) or "none",
    fold=r"\d+",
    region="|".join(settings.region_tables()) or "none",
    network="|".join(settings.contour_networks()) or "none",


def section(name):
    """One section of the settings as plain values, a rule's only view of them."""
    return getattr(settings, name).model_dump(mode="json")


# How NIfTI is read: the only settings of the cohort that its conversion depends on.
NIFTI = {k: v for k, v in section("cohort").items() if k.startswith("nifti_")}


def image_folder(patient):
    """Folder of a patient's images as the cohort table names it."""
    return str(Path(settings.cohort.image_root, cohort[patient].image_path))


def images_of(wildcards):
    """Input of a patient's first stage; a missing folder is that stage's to report."""
    if IS_PHANTOM:
        return f"{R}/phantom/{wildcards.patient}"
    folder = image_folder(wildcards.patient)
    return folder if os.path.exists(folder) else []


def files_of(wildcards):
    """What lies in a patient's folder; Snakemake itself sees only the time of its uppermost folder."""
    return "" if IS_PHANTOM else files_digest(Path(image_folder(wildcards.patient)))


def named_files(entries):
    """Files that a setting or the cohort table names by path: inputs, as they decide values."""
    return [entry for entry in entries if entry and os.path.isfile(entry)]


def masks_of(wildcards):
    """Mask files outside the patient's folder that the cohort table's `roi` names."""
    entries = cohort[wildcards.patient].roi.split(";")
    # Labels may follow the path: mask.nii.gz:1,3
    return named_files(
        [re.sub(r":\d+(,\d+)*$", "", entry.strip()) for entry in entries]
    )


def of_patients(stage, patients, ending=""):
    return [f"{R}/{stage}/{patient}{ending}" for patient in patients]


def crops_of(patients):
    return of_patients("crops", patients, ".zarr")


def feature_set_path(name):
    """File of a named feature set, or the path itself."""
    named = ROOT / "config" / "radiomics" / f"{name}.yaml"
    if not named.exists():
        return name
    # With --directory the results lie elsewhere, and the checkout is named in full.
    here = Path.cwd()
    return str(named.relative_to(here) if named.is_relative_to(here) else named)


RADIOMICS = settings.radiomics.enabled and FROM_SCANNER
# Regions of the manual contour that tables of their own are made of.
REGIONS = settings.region_tables()
STABILITY = RADIOMICS and settings.needs_stability()
STAGES = [
    *(["index"] if SOURCE == "dicom" else []),
    *(["convert", "suv", "contours", "registration"] if FROM_SCANNER else []),
]


def stages_of(patient):
    """What a patient's stages leave, in their order."""
    features = []
    if RADIOMICS:
        folders = ["radiomics", *(f"radiomics/{region}" for region in REGIONS)]
        features = [f"{R}/{folder}/{patient}.parquet" for folder in folders]
    return (
        [f"{R}/{stage}/{patient}" for stage in STAGES] + crops_of([patient]) + features
    )


def values_section(*more):
    """The settings that decide values; which tables are made changes none of them."""
    wanted = {"contours", "stability", "perturb_mm"} - set(more)
    return {k: v for k, v in section("radiomics").items() if k not in wanted}


def region_of(wildcards):
    return getattr(wildcards, "region", "manual")


def patients_of_table(wildcards):
    folder = (
        f"radiomics/{wildcards.region}" if "region" in wildcards.keys() else "radiomics"
    )
    return of_patients(folder, cohort.ids(), ".parquet")


def features_of(wildcards):
    """The feature table of a model's contour; one per fold where a network drew it."""
    needs = settings.models[wildcards.model].needs
    if not RADIOMICS or not needs.radiomics:
        return []
    contour = needs.contour
    if contour == "predicted":
        folder = f"{R}/radiomics/predicted/{needs.contour_network}"
        return [f"{folder}/fold{fold}.parquet" for fold in FOLDS]
    ending = "" if contour == "manual" else f"_{contour}"
    return f"{R}/radiomics/features{ending}.parquet"


def stability_of(wildcards):
    needed = RADIOMICS and settings.models[wildcards.model].needs.min_icc > 0
    return f"{R}/radiomics/stability.parquet" if needed else []


def initial_weights(wildcards):
    """The same fold of the model whose weights are the start, where the study names one."""
    start = settings.training_of(wildcards.model).pretrained_from
    return f"{R}/models/{start}/fold{wildcards.fold}" if start else []


CROSS_FOLDS = range(settings.plan.runs * settings.plan.cross_parts)


def cross_weights(wildcards):
    """The start of a cross network: a cross network too, that has seen no more patients."""
    start = settings.training_of(wildcards.model).pretrained_from
    return f"{R}/models/{start}/cross{wildcards.fold}" if start else []


def cross_networks(wildcards):
    """Networks that give a model its deep features, fold by fold, part by part."""
    source = settings.models[wildcards.model].needs.deep
    return [f"{R}/models/{source}/cross{m}" for m in CROSS_FOLDS] if source else []


def stage_resources(mem_mb, minutes):
    """Memory and run time, grown with each attempt."""
    return dict(
        mem_mb=lambda wildcards, attempt: mem_mb * attempt,
        runtime=lambda wildcards, attempt: minutes * attempt,
    )


def announce_start():
    images = len(cohort.ids())
    print(
        f"study {STUDY}: {images} patients, {len(settings.models)} models, results in {R}/",
        file=sys.stderr,
    )
    for patient, problem in cohort.problems.items():
        print(f"warning: patient {patient} left out: {problem}", file=sys.stderr)
    unit = settings.cohort.time_unit
    for line in outcomes_told(cohort, unit):
        print(line, file=sys.stderr)
    for doubt in preflight_warnings(
        settings.plan, cohort, settings.evaluation.horizons_days, unit
    ):
        print(f"warning: {doubt}", file=sys.stderr)
    development = [p for p in cohort.patients if p.set == "development"]
    if refused := infeasible_plan_reason(
        development, settings.plan, settings.study.seed
    ):
        print(
            f"warning: even if no patient is left out, the plan will refuse: {refused}",
            file=sys.stderr,
        )
    absent = (
        []
        if IS_PHANTOM or SOURCE == "generated"
        else [p for p in cohort.ids() if not os.path.exists(image_folder(p))]
    )
    if absent:
        print(
            f"warning: no images of {len(absent)} of {images} patients; the first: {absent[0]}, "
            f"{image_folder(absent[0])} (cohort.image_root, then the table's image_path)",
            file=sys.stderr,
        )
    for folder in orphan_folders(settings.cohort, cohort):
        print(
            f"warning: {folder} holds images, but no row of {settings.cohort.table} names it; "
            "add a row, or move the folder",
            file=sys.stderr,
        )


# A dry run starts nothing, so `onstart` is silent; what is wrong is asked for there first.
if workflow.output_settings.dryrun and workflow.is_main_process:
    announce_start()


def announce_end():
    if Path(R, "report/index.html").exists():
        print(f"\nreport: {Path(R, 'report/index.html').resolve()}", file=sys.stderr)
    problems = Path(R, "problems.csv")
    if problems.exists() and len(problems.read_text().splitlines()) > 1:
        print(f"patients with problems: {problems.resolve()}", file=sys.stderr)


def announce_failure():
    print(
        f"\nstopped; each job's log lies in {R}/logs/; run the same command again to go on",
        file=sys.stderr,
    )
