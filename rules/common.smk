# Paths, the code digest and the settings that rules are given; no stage lives here.
import json
import os
import sys
from pathlib import Path

ROOT = Path(workflow.basedir).resolve()
sys.path.insert(0, str(ROOT))
# Jobs import `pipeline` from this checkout, whatever is installed elsewhere.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)
# Bytes of results must not depend on how Python orders sets of strings.
os.environ.setdefault("PYTHONHASHSEED", "0")
# A job has the threads its rule states; ITK would take all cores.
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

from snakemake.exceptions import WorkflowError

from pipeline.errors import PipelineError
from pipeline.provenance import code_digest
from pipeline.settings.root import load_settings
from pipeline.tables.cohort import read_cohort
from pipeline.tables.files import orphan_folders
from pipeline.tables.pins import pinned_patients

try:
    settings = load_settings(config)
    cohort = read_cohort(settings.cohort, settings.study.on_bad_patient)
except PipelineError as error:
    raise WorkflowError(str(error)) from None

STUDY = settings.study.name
R = f"results/{STUDY}"
POLICY = settings.study.on_bad_patient
SOURCE = settings.cohort.source
FROM_SCANNER = SOURCE in ("dicom", "nifti")
# The embedded cohort makes its own images.
IS_PHANTOM = Path(settings.cohort.image_root) == Path(R, "phantom")
NETWORKS = sorted(settings.networks())
CLASSICAL = sorted(settings.classical())
ENSEMBLES = {**{name: (name,) for name in settings.models}, **settings.ensembles}
FOLDS = range(settings.plan.folds)


def accelerators_here():
    """Accelerators of this machine that jobs may see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len(
            [entry for entry in visible.split(",") if entry.strip() not in ("", "-1")]
        )
    return len(
        [entry for entry in Path("/dev").glob("nvidia*") if entry.name[6:].isdigit()]
    )


# A fold asks for one accelerator: always on a cluster, here only where there is one.
USES_GPU = settings.training.device != "cpu" and (
    not workflow.local_exec or accelerators_here() > 0
)
GPUS_PER_FOLD = 1 if USES_GPU else 0
if USES_GPU and workflow.local_exec and "gpu" not in workflow.global_resources:
    # Folds share no card unasked; --resources gpu=2 runs two at once.
    workflow.register_resource("gpu", 1)


wildcard_constraints:
    patient="|".join(cohort.ids()) or "none",
    model="|".join(settings.models) or "none",
    ensemble="|".join(ENSEMBLES) or "none",
    fold=r"\d+",


def section(name):
    """One section of the settings as plain values, a rule's only view of them."""
    return getattr(settings, name).model_dump(mode="json")


def image_folder(patient):
    """Folder of a patient's images as the cohort table names it."""
    return str(Path(settings.cohort.image_root, cohort[patient].image_path))


def images_of(wildcards):
    """Input of a patient's first stage; a missing folder is that stage's to report."""
    if IS_PHANTOM:
        return f"{R}/phantom/{wildcards.patient}"
    folder = image_folder(wildcards.patient)
    return folder if os.path.exists(folder) else []


def of_patients(stage, patients, ending=""):
    return [f"{R}/{stage}/{patient}{ending}" for patient in patients]


def crops_of(patients):
    return of_patients("crops", patients, ".zarr")


def feature_set_path(name):
    """File of a named feature set, or the path itself."""
    named = ROOT / "config" / "radiomics" / f"{name}.yaml"
    return (
        str(named.relative_to(Path.cwd()))
        if named.is_relative_to(Path.cwd()) and named.exists()
        else name
    )


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
    for folder in orphan_folders(settings.cohort, cohort):
        print(
            f"warning: {folder} holds images, but no row of {settings.cohort.table} names it; "
            "add a row, or move the folder",
            file=sys.stderr,
        )


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
