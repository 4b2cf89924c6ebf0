"""The graph of every supported arrangement, and the messages for wrong ones."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.workflow.dependencies import RULES
from study_runner import ROOT, Study, copy_house, tiny_config, tiny_rows


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    house = copy_house(tmp_path_factory.mktemp("dry") / "repo")
    rows = tiny_rows()
    (house / "cohort.csv").write_text("\n".join(rows) + "\n")
    with_images(house, rows)
    return house


def with_images(house: Path, rows: list[str]) -> None:
    """A file in each patient's folder below `images`, for studies whose images are given."""
    column = rows[0].split(",").index("image_path")
    for row in rows[1:]:
        folder = house / "images" / row.split(",")[column]
        folder.mkdir(parents=True)
        (folder / "image.npy").touch()


def study(house: Path, **changes: dict) -> Study:
    config = tiny_config(**changes.pop("cohort", {}))
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values} if isinstance(values, dict) else values
    return Study(house, config)


PER_PATIENT = dict.fromkeys(
    ("phantom", "index", "convert", "suv", "contours", "register", "crop", "radiomics_patient"), 14
)


def test_the_whole_graph(house: Path) -> None:
    jobs = study(house).planned()
    jobs.pop("all")
    assert jobs == PER_PATIENT | {
        "template": 1, "crop_position": 1, "radiomics_table": 1, "exclusions": 1, "plan": 1, "training_plan": 1,
        "train_fold": 2, "survival": 2, "ensemble": 4, "evaluate": 1, "report": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "last", "absent"),
    [
        ("preprocess", "crop", {"radiomics_patient", "plan"}),
        ("radiomics", "radiomics_table", {"plan", "train_fold"}),
        ("train", "train_fold", {"survival", "report"}),
    ],
)
def test_partial_targets(house: Path, target: str, last: str, absent: set[str]) -> None:
    output = study(house).snakemake(target, "-n", "--quiet", "rules")
    assert last in output and not any(f"\n{name} " in output for name in absent)


def test_deep_features_need_networks_without_the_patient(house: Path) -> None:
    deep = {"deep": {"kind": "lasso_cox", "features": [], "deep": "deepmts"}}
    jobs = study(house, models={**tiny_config()["models"], **deep}).planned()
    # Two folds of two parts each.
    assert (jobs["train_fold"], jobs["train_cross"], jobs["cross_splits"]) == (2, 4, 1)


def test_unregistered_lesion_crops_need_no_template(house: Path) -> None:
    jobs = study(house, registration={"method": "none"}, crop={"position": "lesion"}).planned()
    assert "template" not in jobs and "crop_position" not in jobs


def test_features_of_other_contours_and_under_perturbed_ones(house: Path) -> None:
    models = tiny_config()["models"] | {
        "rim": {"kind": "lasso_cox", "contour": "peritumoral"},
        "drawn": {"kind": "lasso_cox", "contour": "predicted", "contour_network": "deepmts"},
        "stable": {"kind": "lasso_cox", "min_icc": 0.75},
    }
    jobs = study(house, models=models, radiomics={"contours": ["threshold"]}).planned()
    assert jobs["radiomics_patient"] == jobs["stability_patient"] == 14
    assert jobs["radiomics_region"] == 28 and jobs["radiomics_region_table"] == 2
    assert jobs["radiomics_predicted"] == 2 and jobs["stability"] == 1
    plain = study(house).planned()
    assert not {"radiomics_region", "radiomics_predicted", "stability"} & set(plain)


def test_native_features_need_no_crop(house: Path) -> None:
    native = study(house, radiomics={"images": "native", "stability": True})
    output = native.snakemake("radiomics", "-n", "--quiet", "rules")
    assert "radiomics_table " in output and "stability_patient " in output
    assert not any(f"\n{name} " in output for name in ("crop", "register", "template"))


DECLARED = {"nifti_pet_quantity": "suvbw"}


def test_nifti_has_no_index(house: Path) -> None:
    jobs = study(house, cohort={"source": "nifti", "image_root": "images", **DECLARED}).planned()
    assert "index" not in jobs and jobs["convert_nifti"] == 14


def test_slices_go_straight_to_the_store(house: Path) -> None:
    jobs = study(house, cohort={"source": "slices", "image_root": "images"}).planned()
    assert jobs["ingest"] == 14 and not {"index", "convert", "crop", "radiomics"} & set(jobs)


def test_boxes_of_every_fold_reach_the_evaluation(house: Path) -> None:
    """Of networks that detect, and of no others."""
    boxes = {"boxes": {"kind": "chest_ct", "tasks": ["detection"], "lesions": 1}}
    models = {**tiny_config()["models"], **boxes}
    detecting = study(house, cohort={"source": "slices", "image_root": "images"}, models=models)
    inputs = (
        detecting.snakemake("-n", "-p").split(": Evaluate: ")[1].splitlines()[1]
    )  # reason: inputs to come
    assert all(f"models/boxes/fold{fold}" in inputs for fold in (0, 1))
    assert "models/deepmts" not in inputs


def test_the_disks_are_generated_in_one_job_and_judged_on_external_images(house: Path) -> None:
    config = yaml.safe_load((ROOT / "config" / "studies" / "papers" / "disks_small.yaml").read_text())
    config["plan"]["repeats"] = 2
    jobs = Study(house, config).planned()
    jobs.pop("all")
    assert jobs == {
        "disks": 1, "exclusions": 1, "plan": 1, "training_plan": 1, "train_fold": 6, "survival": 1, "ensemble": 4,
        "evaluate": 1, "report": 1,
    }  # fmt: skip


def test_the_embedded_default_and_the_slurm_profile(house: Path) -> None:
    run = Study(house, tiny_config())
    output = run.snakemake("-n", "--profile", "config/profiles/slurm", "--quiet", "rules")
    assert "train_fold" in output
    # A message hides resources in the listing, so the rules themselves are asked.
    (house / "asked.smk").write_text(
        'include: "Snakefile"\nimport sys\n'
        'names = [r.name for r in workflow.rules if "gpu" in r.resources]\nprint("gpu:", names, file=sys.stderr)\n'
    )
    asked = run.snakemake("-n", "-s", "asked.smk", "--profile", "config/profiles/slurm", "--quiet", "rules")
    assert "gpu: ['train_fold', 'train_cross', 'explain_model']" in asked, "only these ask for an accelerator"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainig": {"batch": 4}}, "unknown key 'trainig'; did you mean 'training'"),
        ({"cohort": {"table": "absent.csv"}}, "cohort table does not exist"),
        ({"ensembles": {"both": ["deepmts", "nothing"]}}, "names 'nothing'"),
    ],
)
def test_wrong_settings_stop_with_one_message(house: Path, changes: dict, message: str) -> None:
    output = study(house, **changes).snakemake("-n", check=False)
    assert message in output and "Traceback" not in output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",event,", ",evnt,", "unknown name: 'evnt'"),
        (",303,1,", ",0,1,", "must be greater than 0"),
        (",303,1,", ",303,2,", "must be 0 or 1"),
    ],
)
def test_wrong_tables_stop_with_one_message(tmp_path: Path, old: str, new: str, message: str) -> None:
    house = copy_house(tmp_path / "repo")
    text = "\n".join(tiny_rows()) + "\n"
    assert old in text
    (house / "cohort.csv").write_text(text.replace(old, new, 1))
    stopping = study(house, study={"name": "tiny", "on_bad_patient": "stop"})
    output = stopping.snakemake("-n", check=False)
    assert output.count(message) == 1 and "Traceback" not in output
    if "event" not in old:
        assert study(house).planned()["crop"] == 13, "the patient is left out, the others go on"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("cohort: {table: cohort.csv}\n", ["study.name", "models"]),
        ("study: {name: mine}\n", ["cohort.table", "models"]),
        ("study: {name: mine}\ncohort: {table: cohort.csv}\n", ["models"]),
    ],
)
def test_a_study_file_takes_nothing_from_the_default(house: Path, text: str, missing: list[str]) -> None:
    """What it lacks is refused, though the embedded default has it."""
    run = study(house)
    run.config = yaml.safe_load(text)
    output = run.snakemake("-n", check=False)
    assert re.findall(r"settings: (\S+) is missing", output) == missing
    assert "Traceback" not in output


def test_generated_default_runs_without_a_study_file(house: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", "-n", "--quiet", "rules"],
        cwd=house, capture_output=True, text=True, check=False,
    )  # fmt: skip
    rows = (ROOT / "config" / "cohorts" / "phantom.csv").read_text().splitlines()
    assert f"crop {len(rows) - 1}" in " ".join((done.stdout + done.stderr).split())


def edges(study: Study) -> set[tuple[str, str]]:
    """(rule, rule whose outputs it reads) of the study's graph; a rule that inherits counts as its parent."""
    graph = study.snakemake("--rulegraph")
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', graph))
    pairs = {(PARENTS.get(names[b], names[b]), PARENTS.get(names[a], names[a]))
             for a, b in re.findall(r"(\d+) -> (\d+)", graph)}  # fmt: skip
    return {(rule, before) for rule, before in pairs if rule not in COLLECTORS and rule != before}


PARENTS = {
    "radiomics_region": "radiomics_patient", "radiomics_region_table": "radiomics_table",
    "train_cross": "train_fold",
}  # fmt: skip
COLLECTORS = {"all", "preprocess", "radiomics", "train", "explain"}


def test_the_table_of_dependencies_is_the_graph_that_snakemake_builds(house: Path) -> None:
    """Of several arrangements that together have every edge; no edge of the table is made up."""
    models = tiny_config()["models"] | {
        "rim": {"kind": "lasso_cox", "contour": "peritumoral"},
        "stable": {"kind": "lasso_cox", "min_icc": 0.75},
        "drawn": {"kind": "lasso_cox", "contour": "predicted", "contour_network": "deepmts"},
        "deep": {"kind": "lasso_cox", "features": [], "deep": "deepmts"},
    }
    boxes = {"boxes": {"kind": "chest_ct", "tasks": ["detection"], "lesions": 1}}
    disks = yaml.safe_load((ROOT / "config" / "studies" / "papers" / "disks_small.yaml").read_text())
    chest = yaml.safe_load((ROOT / "config" / "studies" / "papers" / "chest_ct_small.yaml").read_text())
    explained = {"explain": {"models": ["deepmts"]}}
    other = {"image_root": "images"}
    nifti = {**other, "source": "nifti", **DECLARED}
    graphs = [
        edges(study(house, models=models, **explained)),
        edges(study(house, models=models, radiomics={"images": "native"}, index={"different_frames": "register"})),
        edges(study(house, cohort=nifti, **explained)),
        edges(study(house, cohort=nifti, radiomics={"images": "native"}, models=models)),
        edges(study(house, cohort={**other, "source": "slices"}, models={**tiny_config()["models"], **boxes},
                    **explained)),
        edges(Study(house, disks | {"explain": {"models": ["sr_net"]}})),
        edges(Study(house, chest | {"explain": {"models": ["step1"]}})),
    ]  # fmt: skip
    table = {(name, before) for name, rule in RULES.items() for before in rule.after if name != "bundle"}
    assert set().union(*graphs) == table
