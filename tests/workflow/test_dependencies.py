"""What each rule depends on: settings, code, rules before it; and the digest that the report states."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import provenance
from pipeline.workflow.dependencies import RULES, Dependencies, by_name
from pipeline.workflow.study import load_study
from study_runner import ROOT, tiny_config, tiny_rows


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    return tmp_path


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the package that digests are taken of."""
    for name in ("pipeline", "workflow_scripts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    provenance.forget_code()
    yield tmp_path / "pipeline"
    provenance.forget_code()


def dependencies(**changes: Any) -> Dependencies:
    config = tiny_config(**changes.pop("cohort", {}))
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values}
    return Dependencies(load_study(config))


EVERYTHING = {
    "models": {
        "hecktor": {"kind": "hecktor"},
        "rim": {"kind": "lasso_cox", "contour": "peritumoral"},
        "drawn": {"kind": "lasso_cox", "contour": "predicted", "contour_network": "deepmts"},
        "stable": {"kind": "lasso_cox", "min_icc": 0.75},
        "deep": {"kind": "deepsurv", "deep": "deepmts"},
    },
    "explain": {"models": ["hecktor"]},
}
"""A study with every kind of stage that a study of volumes can have."""


def test_a_rule_is_given_its_section_without_what_changes_nothing_of_it(here: Path) -> None:
    tiny = dependencies()
    assert tiny.settings("suv")["normalisation"] == "bw"
    assert "cross_parts" not in tiny.settings("plan") and "cross_parts" in tiny.settings("training_plan")
    values, perturbed = tiny.settings("radiomics_patient"), tiny.settings("stability_patient")
    assert not {"contours", "stability", "perturb_mm"} & set(values) and "feature_set" in values
    assert set(perturbed) - set(values) == {
        "perturbations", "perturb_mm", "perturb_degrees", "perturb_repeats"
    }  # fmt: skip
    assert all(key.startswith("nifti_") for key in tiny.settings("convert_nifti"))
    assert tiny.settings("ensemble") == {} and set(tiny.on("ensemble")) == {"code"}


def test_every_section_and_key_of_the_table_exists(here: Path) -> None:
    settings = dependencies().study.settings
    assert {rule.section for rule in RULES.values()} - {""} <= set(type(settings).model_fields)
    for rule in RULES.values():
        section = getattr(settings, rule.section) if rule.section else None
        assert section is None or rule.without < set(type(section).model_fields)
        assert set(rule.after) <= set(RULES)
        assert all(provenance.module_path(name) for name in (rule.module, *rule.also))


def test_code_of_a_network_is_that_of_its_own_kind(here: Path, code: Path) -> None:
    def digests() -> dict[str, str]:
        provenance.forget_code()
        study = dependencies(**EVERYTHING)
        names = ("deepmts", "hecktor")
        return {name: study.on("train_fold")["code"](SimpleNamespace(model=name))["digest"] for name in names}

    before = digests()
    edit(code / "nets" / "hecktor.py")
    after = digests()
    assert before["deepmts"] == after["deepmts"] and before["hecktor"] != after["hecktor"]


def test_parameters_that_swap_their_values_rerun() -> None:
    wildcards = SimpleNamespace(model="a")
    one = by_name({"seed": 1, "threads": lambda wildcards: 2}.items())
    other = by_name({"seed": lambda wildcards: 2, "threads": 1}.items())
    assert one(wildcards) != other(wildcards)
    assert one(wildcards) == by_name({"threads": 2, "seed": 1}.items())(wildcards)
    by_model = by_name([("model", lambda wildcards: wildcards.model)])
    assert by_model(wildcards) != by_model(SimpleNamespace(model="b"))


def test_rules_before_another(here: Path) -> None:
    converted = {"phantom", "index", "convert"}
    assert dependencies().rules_before("template") == converted
    before = converted | {"suv", "contours", "template", "register"}
    assert dependencies().rules_before("crop_position") == before
    unregistered = dependencies(registration={"method": "none"}, cohort={"image_root": "images"})
    assert unregistered.rules_before("crop_position") == before - {"phantom", "template"}
    nifti = dependencies(cohort={"source": "nifti", "image_root": "images"})
    assert nifti.rules_before("template") == {"convert_nifti"}


def edit(path: Path) -> None:
    """Change a file's content; of Python its syntax tree."""
    path.write_text(path.read_text() + "\nCHANGED = 1\n")


def test_the_code_that_the_report_states_covers_every_stage(here: Path) -> None:
    study = dependencies(**EVERYTHING)
    rules = study.rules_before("report") | {"report"}
    called = [m for rule in rules for model in study.models_of(rule) for m in study.modules(rule, model)]
    covered = provenance.modules_behind(*called)
    for room in ("explain", "radiomics", "registration", "ensemble", "planning"):
        modules = {f"pipeline.{room}.{path.stem}" for path in (ROOT / "pipeline" / room).glob("*.py")}
        assert modules - covered <= {f"pipeline.{room}.__init__"}, room
    assert {"pipeline.nets.deepmts", "pipeline.nets.hecktor", "pipeline.nets.csn"} <= covered
    assert {
        "pipeline.metrics.stability",
        "pipeline.training.tabular",
        "pipeline.planning.cross_splits",
    } <= covered
    assert set(RULES) - rules == {"bundle", "ingest", "disks", "chest_slices", "convert_nifti"}


def test_an_edited_network_explanation_stability_or_style_sheet_changes_that_code(
    here: Path, code: Path
) -> None:
    digests = {dependencies(**EVERYTHING).code_of_results()}
    for path in (
        "nets/deepmts.py", "explain/explain_model.py", "radiomics/stability_patient.py",
        "report/templates/style.css",
    ):  # fmt: skip
        edit(code / path)
        provenance.forget_code()
        digests.add(dependencies(**EVERYTHING).code_of_results())
    assert len(digests) == 5


def test_code_of_stages_that_a_study_does_not_have_changes_nothing(here: Path, code: Path) -> None:
    before = dependencies().code_of_results()
    for path in ("nets/hecktor.py", "explain/explain_model.py", "phantoms/disks.py", "deploy/predict.py"):
        edit(code / path)
    provenance.forget_code()
    assert dependencies().code_of_results() == before


def test_a_region_depends_on_the_key_that_decides_it_alone(here: Path) -> None:
    before, after = dependencies(), dependencies(radiomics={"rim_mm": 9.0})
    for rule in ("radiomics_patient", "radiomics_predicted", "stability_patient"):
        assert before.settings(rule) == after.settings(rule)
    assert before.settings_of_region("threshold") == after.settings_of_region("threshold")
    assert before.settings_of_region("peritumoral")["rim_mm"] == 8.0
    assert after.settings_of_region("peritumoral")["rim_mm"] == 9.0


def test_a_rules_script_counts_and_its_comments_do_not(here: Path, code: Path) -> None:
    """Snakemake itself looks at a script's time alone: one restored with an older time would rerun nothing."""
    scripts = code.parent / "workflow_scripts"
    before = {name: dependencies().code(name) for name in ("suv", "contours")}
    text = (scripts / "suv.py").read_text()
    (scripts / "suv.py").write_text(text + "# a comment\n")
    assert dependencies().code("suv") == before["suv"]
    (scripts / "suv.py").write_text(text.replace("needed=snakemake.params.needed", "needed=False"))
    assert dependencies().code("suv") != before["suv"]
    assert dependencies().code("contours") == before["contours"]
