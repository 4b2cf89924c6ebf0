"""Settings: what is generated is in step, what is wrong is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from pipeline.errors import SettingsError
from pipeline.settings import export
from pipeline.settings.demo_study import phantom_study
from pipeline.settings.kinds import ranking, read_models
from pipeline.settings.root import load_settings
from tests.settings.minimal import study as minimal_study

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("config/schema.json", export.schema_json),
        ("config/config.yaml", export.default_yaml),
        ("docs/configuration.md", export.reference_markdown),
    ],
)
def test_generated_files_are_in_step(path: str, make) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == make(), "run `make settings`"


def test_embedded_yaml_is_the_embedded_study() -> None:
    assert load_settings(yaml.safe_load(export.default_yaml())) == phantom_study()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"trainig": {}}, "unknown key 'trainig'; did you mean 'training'"),
        ({"crop": {"shap": [8, 8, 8]}}, "unknown key 'crop.shap'; did you mean 'shape'"),
        ({"models": {"net": {"kind": "deepmts", "widht": 1}}}, "did you mean 'width'"),
        (
            {"models": {"net": {"kind": "deepmst"}}},
            r"models\.net: unknown kind 'deepmst'; did you mean 'deepmts'",
        ),
        (
            {"models": {"net": {"kind": "rsf", "featurs": []}}},
            r"'models\.net\.featurs'; did you mean 'features'",
        ),
        ({"models": {"net": {"width": 1}}}, r"models\.net lacks the key 'kind'"),
        ({"training": None}, "training must be a group of keys, got None"),
        ({"contours": {"roi": "GTV*"}}, r"contours\.roi must be a list"),
        ({"crop": {"shape": [0, 8, 8]}}, r"crop\.shape\.0 must be greater than or equal to 1, got 0"),
        ({"crop": {"spacing_mm": [1, 1, -1]}}, r"crop\.spacing_mm\.2 must be greater than 0, got -1"),
        ({"crop": {"position": "box"}}, "crop.position: box needs crop.boxes"),
        ({"suv": {"uptake_minutes": [90, 45]}}, r"uptake_minutes must be \[low, high\]"),
        ({"evaluation": {"horizons_days": [0]}}, r"evaluation\.horizons_days\.0"),
        ({"models": {"net": {"kind": "rsf"}}, "ensembles": {"both": []}}, "must name one model or more"),
        ({"models": {"net": {"kind": "rsf"}}, "ensembles": {"both": ["net", "net"]}}, "each once"),
        ({"models": {"net": {"kind": "rsf"}, "Net": {"kind": "rsf"}}}, "nothing but case"),
        (
            {"models": {"net": {"kind": "deepmts", "training": {"pretrained_from": "other"}}}},
            "'net' starts from 'other', which is no network",
        ),
        (
            {"models": {"net": {"kind": "deepmts"}}, "training": {"pretrained_from": "net"}},
            "in a ring: net → net",
        ),
        (
            {"models": {"net": {"kind": "deepmts", "training": {"iteratons": 1}}}},
            r"did you mean 'iterations'.*where: models\.net\.training",
        ),
        ({"models": {"net": {"kind": "deepmts", "training": {"iteration": 3}}}}, "did you mean 'iterations'"),
        ({"plan": {"folds": 0}}, "plan.folds.*greater than or equal to 1, got 0"),
        ({"plan": {"repeats": 0}}, "plan.repeats.*greater than or equal to 1, got 0"),
        ({"plan": {"folds": 1, "by_centre": True}}, "folds: 1 holds out nobody"),
        ({"plan": {"folds": 1, "validation_fraction": 0}}, "validation_fraction must be above 0"),
        (
            {
                "plan": {"folds": 1},
                "models": {"net": {"kind": "deepmts"}},
                "training": {"checkpoint_selection": "best_test"},
            },
            "'net' chooses its weights on test patients, and there are none",
        ),
        ({"cohort": {"source": "generated"}, "disks": {"images": 300}}, "development: at most images"),
        ({"ensembles": {"mean": ["nothing"]}}, "names 'nothing', which is not among the models"),
        ({"study": {"name": "../up"}}, "study.name"),
        (
            {"plan": {"validation_fraction": 0}, "models": {"net": {"kind": "deepmts"}}},
            "'net' chooses its weights on validation",
        ),
    ],
)
def test_wrong_settings_are_told(config: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(minimal_study(**config))


SEGMENTS = {"seg": {"kind": "seg_backbone"}, "cox": {"kind": "lasso_cox"}}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"ensembles": {"both": ["seg"]}},
            "'both' averages risks, and none of its models predicts survival: seg",
        ),
        (
            {"evaluation": {"compare_with": "seg"}},
            "compare_with names 'seg', which does not predict survival",
        ),
        ({"evaluation": {"reference_model": "seg"}}, "reference_model names 'seg', which does not predict"),
        (
            {"training": {"select_metric": "c_index"}},
            "'seg' chooses its weights by C-index.*models.seg.training.select_metric: loss",
        ),
    ],
)
def test_what_goes_by_risk_names_models_that_give_one(config: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(minimal_study(models=SEGMENTS, **config))


def test_masks_may_stand_beside_risks() -> None:
    settings = load_settings(
        minimal_study(
            models=SEGMENTS,
            ensembles={"both": ["seg", "cox"]},
            evaluation={"compare_with": "both"},
        )
    )
    plain = settings.model_dump(mode="json")["models"]
    assert ranking(settings.models) == ranking(read_models(plain)) == ("cox",)
    assert load_settings(minimal_study(models=SEGMENTS)).bundled() == "cox"
    assert load_settings(minimal_study(models={"seg": SEGMENTS["seg"]})).bundled() == "seg"


def test_overrides_of_a_model_merge_into_the_training_section() -> None:
    overrides = {"batch": 4, "augment": {"flip_sagittal": False}}
    settings = load_settings(
        minimal_study(
            training={"iterations": 7, "augment": {"rotation_deg": 2.0}},
            models={"net": {"kind": "deepmts", "training": overrides}},
        )
    )
    merged = settings.training_of("net")
    assert (merged.iterations, merged.batch) == (7, 4)
    assert (merged.augment.rotation_deg, merged.augment.flip_sagittal) == (2.0, False)


@pytest.mark.parametrize("study", sorted((ROOT / "config" / "studies").rglob("*.yaml")), ids=lambda p: p.stem)
def test_studies_are_valid(study: Path) -> None:
    settings = load_settings(yaml.safe_load(study.read_text(encoding="utf-8")))
    assert settings.study.name == study.stem


def test_every_setting_has_a_description() -> None:
    schema = load_settings(minimal_study()).model_json_schema()
    missing = [
        f"{title}.{name}"
        for title, definition in schema["$defs"].items()
        for name, prop in definition.get("properties", {}).items()
        if "description" not in prop and name != "kind"
    ]
    assert not missing


def test_a_study_must_have_a_name_a_table_and_a_model() -> None:
    message = (
        r"study\.name is missing: Name of the study.*cohort\.table is missing: CSV file.*models is missing: "
    )
    with pytest.raises(SettingsError, match=f"(?s){message}"):
        load_settings({})
    with pytest.raises(SettingsError, match="models has too few entries"):
        load_settings(minimal_study(models={}))
    load_settings(minimal_study())


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"cohort": {"image_root": "results/some/phantom"}}, "phantom is missing: .*add the section"),
        (
            {"phantom": {}},
            r"phantom is for studies .* cohort\.image_root: results/some/phantom, got \.; set",
        ),
        ({"cohort": {"source": "generated"}}, r"disks is missing: cohort\.source is generated; add"),
        ({"disks": {}}, r"disks is for studies with cohort\.source: generated, got dicom; remove"),
    ],
)
def test_a_generator_has_a_section_where_it_generates(sections: dict, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(minimal_study(**sections))


def test_the_reference_calls_required_what_is() -> None:
    schema = load_settings(minimal_study()).model_json_schema()
    required = sorted(key for group in schema["$defs"].values() for key in group.get("required", []))
    page = export.reference_markdown()
    assert sorted(re.findall(r"^\| `(\w+)` \| required \|", page, re.M)) == required
    assert "## `models`\n\nRequired. " in page


def test_the_reference_says_what_each_key_takes() -> None:
    rows = re.findall(r"^\| `\w+` \| (.+?) \| (.+?) \| (.+) \|$", export.reference_markdown(), re.M)
    assert len(rows) > 400
    assert not [row for row in rows if not all(cell.strip() for cell in row)]
    words = {takes for _, takes, _ in rows}
    assert {"three integers ≥ 1", "number > 0 and ≤ 1", "`true`, `false`", "list of texts"} <= words
    assert not words & {"array", "object", "string", "number or none or none"}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({}, "radiomics.enabled"),
        ({"radiomics": {"enabled": False}, "crop": {"position": "brain_anchored"}}, "crop.position"),
        (
            {"radiomics": {"enabled": False}, "contours": {"auto_segment": "fixed_4.0"}},
            "contours.auto_segment",
        ),
    ],
)
def test_surface_suv_does_not_meet_thresholds_by_weight(changes: dict, named: str) -> None:
    settings = minimal_study(suv={"normalisation": "bsa"})
    with pytest.raises(SettingsError, match=f"(?s)cm²/mL.*{named}"):
        load_settings({**settings, **changes})
    load_settings({**settings, "radiomics": {"enabled": False}})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("contours.draw", "contours.auto_segment"),
        ("contours.draw_within", "contours.auto_segment_within"),
        ("contours.ring_mm", "contours.shell_mm"),
        ("plan.inner_fraction", "plan.validation_fraction"),
        ("training.accumulate", "training.gradient_accumulation"),
        ("training.risk_memory", "training.risk_bank_size"),
        ("training.select", "training.checkpoint_selection"),
        ("training.start_from", "training.pretrained_from"),
        ("evaluation.added_value_over", "evaluation.reference_model"),
    ],
)
def test_a_renamed_key_is_refused_with_its_new_name(old: str, new: str) -> None:
    section, key = old.split(".")
    with pytest.raises(SettingsError, match=rf"{re.escape(old)} is now {re.escape(new)}; rename it"):
        load_settings(minimal_study(**{section: {key: 1}}))
    part, name = new.split(".")
    sections = load_settings(minimal_study()).model_dump()
    assert name in sections[part]
    assert key not in sections[section]


def test_a_renamed_key_of_a_model_s_training_is_refused_with_its_new_name() -> None:
    models = {"net": {"kind": "deepmts", "training": {"accumulate": 2}}}
    message = r"training\.accumulate is now training\.gradient_accumulation.*where: models\.net\.training"
    with pytest.raises(SettingsError, match=message):
        load_settings(minimal_study(models=models))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop": {"position": "uptake"}}, "crop.position: uptake is now crop.position: brain_anchored"),
        (
            {"training": {"checkpoint_selection": "best_inner"}},
            "checkpoint_selection: best_inner is now training.checkpoint_selection: best_validation",
        ),
        (
            {"training": {"checkpoint_selection": "best_heldout"}},
            "checkpoint_selection: best_heldout is now training.checkpoint_selection: best_test",
        ),
        (
            {"models": {"hecktor": {"kind": "hecktor_cox", "select_on": "inner"}}},
            "inner is now models.hecktor.select_on: validation",
        ),
    ],
)
def test_a_renamed_value_is_refused_with_its_new_name(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=f"{message}; rename it"):
        load_settings(minimal_study(**changes))
