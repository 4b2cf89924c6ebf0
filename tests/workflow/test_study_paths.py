"""Which files every rule reads, asked without Snakemake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import SettingsError, TableError
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.study import load_study
from study_runner import ROOT, tiny_config, tiny_rows

FOLDS = ["results/tiny/models/deepmts/fold0", "results/tiny/models/deepmts/fold1"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: an empty folder with the table of 14 patients."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    return tmp_path


def paths(**changes: Any) -> StudyPaths:
    """Of the tiny study with some sections changed, and models added."""
    config = tiny_config(**changes.pop("cohort", {}))
    models = {**config["models"], **changes.pop("models", {})}
    for section, values in changes.items():
        config[section] = {**config.get(section, {}), **values}
    return StudyPaths(load_study(config | {"models": models}))


def test_patterns_and_paths(here: Path) -> None:
    tiny = paths()
    assert tiny.stage("suv") == "results/tiny/suv/{patient}"
    assert tiny.stage("suv", "P1") == "results/tiny/suv/P1"
    assert tiny.crop("P1") == "results/tiny/crops/P1.zarr"
    assert tiny.radiomics("P1", "core") == "results/tiny/radiomics/core/P1.parquet"
    assert tiny.feature_table("core") == "results/tiny/radiomics/features_core.parquet"
    assert tiny.fold() == "results/tiny/models/{model}/fold{fold}"
    assert tiny.log("suv/{patient}") == "results/tiny/logs/suv/{patient}.log"
    assert tiny.checkpoints("deepmts", "0") == "results/tiny/checkpoints/deepmts_0"


def test_no_two_files_of_a_study_share_a_path(here: Path) -> None:
    tiny = paths()
    named = [getattr(tiny, name) for name, kind in vars(StudyPaths).items() if isinstance(kind, property)]
    assert len(set(named)) == len(named) and all(path.startswith("results/tiny") for path in named)


def test_collections_follow_the_cohort_table(here: Path) -> None:
    tiny = paths()
    assert len(tiny.crops()) == 14 and len(tiny.crops("development")) == 10
    assert len(tiny.stages()) == 14 * len(tiny.stages_of("P1"))


@pytest.mark.parametrize(
    ("source", "stages"),
    [
        ("dicom", ["index", "convert", "suv", "contours", "registration", "crops", "radiomics"]),
        ("nifti", ["convert", "suv", "contours", "registration", "crops", "radiomics"]),
        ("slices", ["crops"]),
    ],
)
def test_stages_of_each_source(here: Path, source: str, stages: list[str]) -> None:
    outputs = paths(cohort={"source": source, "image_root": "images"}).stages_of("P1")
    assert [path.split("/")[2] for path in outputs] == stages


def test_regions_are_stages_too(here: Path) -> None:
    rim = {"rim": {"kind": "lasso_cox", "contour": "peritumoral"}}
    assert paths(models=rim).stages_of("P1")[-1] == "results/tiny/radiomics/peritumoral/P1.parquet"


def test_images_of_the_phantom_are_made_by_a_rule(here: Path) -> None:
    tiny, patient = paths(), tiny_rows()[1].split(",")[0]
    assert tiny.images_of(patient) == f"results/tiny/phantom/{patient}" and tiny.files_of(patient) == ""


def test_a_missing_folder_is_no_input_and_an_existing_one_is_digested(here: Path) -> None:
    study = paths(cohort={"image_root": "images"})
    absent, present = study.study.cohort.ids()[:2]
    assert study.images_of(absent) == [] and study.files_of(absent) == ""
    folder = study.image_folder(present)
    Path(folder).mkdir(parents=True)
    assert study.images_of(present) == folder and len(study.files_of(present)) == 16


def test_masks_that_the_table_names_are_inputs_without_their_labels(here: Path) -> None:
    rows = tiny_rows()
    fields = rows[1].split(",")
    fields[rows[0].split(",").index("roi")] = "mask.nii.gz:3; GTV.*"
    (here / "cohort.csv").write_text("\n".join([rows[0], ",".join(fields), *rows[2:]]) + "\n")
    assert paths().masks_of(fields[0]) == []
    (here / "mask.nii.gz").touch()
    assert paths().masks_of(fields[0]) == ["mask.nii.gz"]


def test_template_and_position_are_read_where_the_study_has_them(here: Path) -> None:
    tiny = paths()
    assert (tiny.template_of(), tiny.position_of()) == (tiny.template, tiny.crop_position)
    free = paths(registration={"method": "none"}, crop={"position": "lesion"})
    assert free.template_of() == [] and free.position_of() == []
    slices = paths(cohort={"source": "slices", "image_root": "images"})
    assert slices.template_of() == [] and slices.position_of() == []


def test_files_that_settings_name(here: Path) -> None:
    study = paths(crop={"position": "box", "boxes": "boxes.csv"}, registration={"template": "one.nii.gz"})
    assert study.boxes() == [] and study.named_template() == []
    for name in ("boxes.csv", "one.nii.gz"):
        (here / name).touch()
    assert study.boxes() == ["boxes.csv"] and study.named_template() == ["one.nii.gz"]


def test_candidates_are_development_patients_until_the_list_is_frozen(here: Path) -> None:
    tiny = paths()
    ids = tiny.study.cohort.ids("development")
    assert tiny.position_candidates() == ids
    assert tiny.template_candidates() == [tiny.stage("convert", patient) for patient in ids]
    frozen = here / tiny.frozen("template")
    frozen.parent.mkdir(parents=True)
    frozen.write_text(f'{{"patients": ["{ids[1]}"]}}')
    assert tiny.template_candidates() == [tiny.stage("convert", ids[1])]


def test_a_named_feature_set_is_a_file_of_the_repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert paths().feature_set() == str(ROOT / "config/radiomics/demo.yaml")
    monkeypatch.chdir(ROOT)
    (here / "own.yaml").touch()
    config = tiny_config()
    config["cohort"]["table"] = str(here / "cohort.csv")
    assert StudyPaths(load_study(config)).feature_set() == "config/radiomics/demo.yaml"
    config["radiomics"]["feature_set"] = str(here / "own.yaml")
    assert StudyPaths(load_study(config)).feature_set() == str(here / "own.yaml")


@pytest.mark.parametrize(
    ("model", "features"),
    [
        ({"kind": "lasso_cox"}, "results/tiny/radiomics/features.parquet"),
        (
            {"kind": "lasso_cox", "contour": "peritumoral"},
            "results/tiny/radiomics/features_peritumoral.parquet",
        ),
        ({"kind": "lasso_cox", "features": [], "deep": "deepmts"}, []),
        (
            {"kind": "lasso_cox", "contour": "predicted", "contour_network": "deepmts"},
            [f"results/tiny/radiomics/predicted/deepmts/fold{fold}.parquet" for fold in (0, 1)],
        ),
    ],
)
def test_features_of_a_model(here: Path, model: dict[str, Any], features: str | list[str]) -> None:
    assert paths(models={"asked": model}).features_of("asked") == features


def test_no_features_where_radiomics_is_off(here: Path) -> None:
    study = paths(radiomics={"enabled": False}, models={"asked": {"kind": "lasso_cox", "min_icc": 0.8}})
    assert study.features_of("asked") == [] and study.stability_of("asked") == []
    assert not any("radiomics" in path for path in study.stages_of("P1"))


def test_stability_is_read_by_models_that_drop_unstable_features(here: Path) -> None:
    study = paths(models={"asked": {"kind": "lasso_cox", "min_icc": 0.8}})
    assert study.stability_of("asked") == study.stability and study.stability_of("lasso") == []
    assert study.study.uses_stability and not paths().study.uses_stability


def test_features_are_read_from_crops_or_native_volumes(here: Path) -> None:
    native = [f"results/tiny/{stage}/{{patient}}" for stage in ("convert", "suv", "contours")]
    for images, crops in (("crop", ["results/tiny/crops/{patient}.zarr"]), ("native", [])):
        study = paths(radiomics={"images": images})
        # PET metrics are of the native PET in either case.
        assert (study.native_stages(), study.crops_of_features()) == (native, crops)
    registered = paths(index={"different_frames": "register"}).native_stages("P1")
    assert registered[-1] == "results/tiny/registration/P1"


def test_training_starts_from_the_same_fold_of_another_network(here: Path) -> None:
    second = {"kind": "deepmts", "width": 0.125, "training": {"pretrained_from": "deepmts"}}
    study = paths(models={"second": second})
    assert study.initial_weights("second", "1") == FOLDS[1] and study.initial_weights("deepmts", "1") == []
    # A cross network starts from one that was trained on no more patients than itself.
    assert study.cross_weights("second", "3") == "results/tiny/models/deepmts/cross3"


def test_deep_features_come_from_every_part_of_every_fold(here: Path) -> None:
    study = paths(models={"deep": {"kind": "lasso_cox", "features": [], "deep": "deepmts"}})
    crossed = [f"results/tiny/models/deepmts/cross{number}" for number in range(4)]
    assert study.cross_networks("deep") == crossed
    assert study.cross_splits_of("deep") == "results/tiny/cross_splits.json"
    assert study.cross_networks("lasso") == [] and study.cross_splits_of("lasso") == []


def test_members_of_an_ensemble_fold_by_fold(here: Path) -> None:
    assert paths().members_of("deepmts") == FOLDS
    assert len(paths().members_of("both")) == 6 and paths().members_of("both")[:2] == FOLDS


def test_a_study_says_what_it_has(here: Path) -> None:
    boxes = {"boxes": {"kind": "chest_ct", "tasks": ["detection"], "lesions": 1}}
    study = paths(cohort={"source": "slices", "image_root": "images"}, models=boxes).study
    assert list(study.networks) == ["boxes", "deepmts"] and study.detectors == ["boxes"]
    assert list(study.classical) == ["lasso", "volume"]
    assert list(study.ensembles) == ["deepmts", "lasso", "volume", "boxes", "both"]
    assert study.permuted == []
    assert paths(evaluation={"importance_permutations": 3}).study.permuted == ["deepmts"]
    assert not study.from_scanner and not study.uses_radiomics and not study.is_phantom
    assert list(study.folds) == [0, 1] and list(study.cross_folds) == [0, 1, 2, 3]


def test_what_is_wrong_is_refused_when_the_study_is_loaded(here: Path) -> None:
    with pytest.raises(SettingsError, match="unknown key 'trainig'"):
        load_study(tiny_config() | {"trainig": {}})
    with pytest.raises(SettingsError, match="no column 'clinical_absent'"):
        paths(models={"net": {"kind": "deepmts", "clinical": ["clinical_absent"]}})
    (here / "twice.yaml").write_text("study: {}\nstudy: {}\n")
    with pytest.raises(SettingsError, match="study"):
        load_study(tiny_config(), ["twice.yaml"])
    (here / "cohort.csv").unlink()
    with pytest.raises(TableError, match="does not exist"):
        load_study(tiny_config())
