"""What decides a value is declared to Snakemake, so that a change of it reruns what it decides."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from study_runner import Study, copy_house, tiny_config, tiny_rows

ASKED = """
include: "Snakefile"
import json, sys
first = cohort.ids()[0]
declared = {
    "boxes": list(rules.crop.input.boxes),
    "template": list(rules.template.input.named),
    "masks": paths.masks_of(first),
    "cross": len(study.cross_folds),
    "plan": sorted(rules.plan.params.settings),
    "named": {each.name: [name for name, _ in each.params.items()] for each in workflow.rules if each.script},
}
from snakemake.iocontainers import Wildcards
for each in workflow.rules:
    if each.script:
        values = {name: "0" if name == "fold" else "" for name in each.wildcard_names}
        values |= {"patient": first} if "patient" in values else {}
        values |= {"ensemble": next(iter(study.ensembles))} if "ensemble" in values else {}
        values |= {"region": "threshold"} if "region" in values else {}
        values |= {"network": "deepmts"} if "network" in values else {}
        values |= {"model": models_of(each)[0]} if models_of(each)[:1] not in ([""], []) else {}
        if "model" not in values or values["model"]:
            each.params.by_name(Wildcards(fromdict=values))
            declared.setdefault("digested", []).append(each.name)
print("declared:", json.dumps(declared), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """A study whose settings and table name files, three repeats without folds."""
    house = copy_house(tmp_path_factory.mktemp("declared") / "repo")
    rows = tiny_rows()
    at = rows[0].split(",").index("roi")
    fields = rows[1].split(",")
    fields[at] = "drawn.nii.gz:1;inside.nii.gz"
    (house / "cohort.csv").write_text("\n".join([rows[0], ",".join(fields), *rows[2:]]) + "\n")
    for name in ("drawn.nii.gz", "boxes.csv", "template.nii.gz"):
        (house / name).touch()
    config = tiny_config() | {
        "plan": {"folds": 1, "repeats": 3, "validation_fraction": 0.4, "cross_parts": 2},
        "crop": {"position": "box", "boxes": "boxes.csv"},
        "registration": {"template": "template.nii.gz"},
    }
    (house / "asked.smk").write_text(ASKED)
    output = Study(house, config).snakemake("-n", "-s", "asked.smk", "--quiet", "rules")
    line = next(line for line in output.splitlines() if line.startswith("declared:"))
    return json.loads(line.removeprefix("declared:"))


def test_files_that_settings_and_table_name_are_inputs(declared: dict) -> None:
    assert declared["boxes"] == ["boxes.csv"]
    assert declared["template"] == ["template.nii.gz"]
    # The other mask lies in the patient's folder, whose digest is a parameter.
    assert declared["masks"] == ["drawn.nii.gz"]


def test_every_repeat_is_cross_fitted(declared: dict) -> None:
    assert declared["cross"] == 3 * 2


def test_parts_within_folds_rerun_no_fold(declared: dict) -> None:
    assert "cross_parts" not in declared["plan"] and "folds" in declared["plan"]


def test_every_rule_records_the_names_of_its_parameters(declared: dict) -> None:
    """Snakemake records values alone; the last parameter is a digest of all others with their names."""
    assert len(declared["named"]) >= 20
    assert not {rule for rule, names in declared["named"].items() if names[-1] != "by_name" or len(names) < 2}
    # All values of all rules of this study can be digested; no network of it is explained.
    assert set(declared["named"]) - set(declared["digested"]) == {"explain_model"}
    # A rule that inherits has its own, over its own values.
    assert all(names.count("by_name") == 1 for names in declared["named"].values())


def test_results_may_lie_on_another_disk(tmp_path: Path) -> None:
    house, elsewhere = copy_house(tmp_path / "repo"), tmp_path / "disk"
    elsewhere.mkdir()
    (elsewhere / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    output = Study(house, tiny_config()).snakemake("-n", "--directory", str(elsewhere), "--quiet", "rules")
    assert "radiomics_patient 14" in " ".join(output.split())


def test_an_image_changed_in_place_reruns_its_patient(tmp_path: Path) -> None:
    house = copy_house(tmp_path / "repo")
    rows = tiny_rows()[:4]
    (house / "cohort.csv").write_text("\n".join(rows) + "\n")
    at = rows[0].split(",").index("image_path")
    images = [house / "images" / row.split(",")[at] for row in rows[1:]]
    for number, folder in enumerate(images):
        folder.mkdir(parents=True)
        np.save(folder / "image.npy", np.full((8, 8), number, dtype=np.float32))
        np.save(folder / "mask.npy", np.eye(8, dtype=np.uint8))
    config = tiny_config(source="slices", image_root="images")
    config["crop"] = {"shape": [1, 8, 8], "spacing_mm": [1, 1, 1]}
    study = Study(house, config)
    study.snakemake("preprocess")
    assert "Nothing to be done" in study.snakemake("preprocess", "-n")
    before = images[1].stat().st_mtime_ns
    np.save(images[1] / "image.npy", np.full((8, 8), 9, dtype=np.float32))
    assert images[1].stat().st_mtime_ns == before, "the folder's own time must not give it away"
    output = study.snakemake("preprocess", "-n", "--quiet", "rules")
    assert "ingest 1" in " ".join(output.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"models": {"net": {"kind": "deepmts", "clinical": ["clinical_performanc"]}}},
            "clinical_performance",
        ),
        ({"plan": {"folds": 9}}, "the plan will refuse: too few patients or events"),
        ({"evaluation": {"horizons_days": [1, 2]}}, "no event before evaluation.horizons_days: 1, 2"),
        ({"cohort": {"image_root": "nowhere"}}, "the folder of all images is missing"),
    ],
)
def test_a_dry_run_tells_what_the_run_would_stumble_over(
    tmp_path_factory: pytest.TempPathFactory, changes: dict, message: str
) -> None:
    house = copy_house(tmp_path_factory.mktemp("told") / "repo")
    (house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    cohort = changes.get("cohort", {})
    config = tiny_config(**cohort) | {"ensembles": {}} | {k: v for k, v in changes.items() if k != "cohort"}
    assert message in Study(house, config).snakemake("-n", "--quiet", "rules", check=False)
