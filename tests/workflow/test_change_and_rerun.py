"""A changed setting reaches everything in one run: change, run, run again, compare with a study made afresh.

The second run must have nothing to do, and every file must equal that of a study that never had
another setting. `ancient` inputs broke this: crops were cut at the old place with exit code 0.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.settings.root import load_settings
from study_runner import Study, copy_house, tiny_config, tiny_rows

# What tells when and how long, or is a mark of Snakemake's own.
NO_RESULTS = ("logs", "benchmarks", "checkpoints")
NO_RESULT_FILES = (".snakemake_timestamp", "timing.json", "training.csv")
COST = re.compile(rb"<h3>Cost of training</h3>.*?</table>", re.DOTALL)
UP_TO_IMAGES = ("preprocess", "radiomics")

# Settings that decide values on the way to crops and features, one by one.
OF_IMAGES = {
    "contours-roi": {"contours": {"roi": ["GTV", "GTV*"], "margin_mm": 4.0}},
    "registration-method": {"registration": {"method": "none"}},
    "index-prefer_ct": {"index": {"prefer_ct": ["*"]}},
    "index-min_slices": {"index": {"min_slices": 9}},
    "index-modalities": {"index": {"modalities": ["ct", "pet"]}},
    "index-several_studies": {"index": {"several_studies": "first"}},
    "index-different_frames": {"index": {"different_frames": "accept"}},
    "index-uptake_minutes": {"index": {"uptake_minutes": [55.0, 58.0]}},
    "index-expected_tracer": {"index": {"expected_tracer": "any"}},
    "index-min_pet_coverage": {"index": {"min_pet_coverage": 0.9}},
    "convert-spacing_tolerance_mm": {"convert": {"spacing_tolerance_mm": 0.2}},
    "convert-incomplete": {"convert": {"incomplete": "warn"}},
    "convert-keep_dates": {"convert": {"keep_dates": True}},
    "suv-normalisation": {"suv": {"normalisation": "lbm_janmahasatian"}},
    "suv-date_shift": {"suv": {"date_shift": "use_times"}},
    "suv-reference_time": {"suv": {"reference_time": "header"}},
    "suv-body_suv": {"suv": {"body_suv": [0.9, 1.0]}},
    "suv-implausible_suvmax": {"suv": {"implausible_suvmax": 4.0}},
    "contours-required": {"contours": {"required": False}},
    "contours-crop_mask": {"contours": {"crop_mask": "pet"}},
    "contours-auto_segment": {"contours": {"auto_segment": "threshold_41"}},
    "contours-supersampling": {"contours": {"supersampling": 5}},
    "contours-keep_rois": {"contours": {"keep_rois": True}},
    "contours-margin_mm": {"contours": {"margin_mm": 5.0}},
    "contours-shell_mm": {"contours": {"shell_mm": 5.0}},
    "registration-moving": {"registration": {"moving": "pet"}},
    "registration-working_mm": {"registration": {"working_mm": 5.0}},
    "registration-starts": {"registration": {"starts": 2}},
    "registration-min_overlap": {"registration": {"min_overlap": 0.99}},
    "crop-position": {"crop": {"position": "lesion"}},
    "crop-centre_mm": {"crop": {"centre_mm": [0.0, 10.0, 5.0]}},
    "crop-shape": {"crop": {"shape": [24, 40, 40]}},
    "crop-spacing_mm": {"crop": {"spacing_mm": [5.0, 4.0, 4.0]}},
    "crop-margin": {"crop": {"margin": 2}},
    "crop-interpolation": {"crop": {"interpolation": "bspline"}},
    "crop-mask_interpolation": {"crop": {"mask_interpolation": "nearest"}},
    "crop-on_cut_lesion": {"crop": {"on_cut_lesion": "exclude", "shape": [8, 16, 16]}},
    "radiomics-images": {"radiomics": {"images": "native"}},
    "radiomics-min_voxels": {"radiomics": {"min_voxels": 40}},
    "study-seed": {"study": {"seed": 7}},
    "phantom-seed": {"phantom": {"seed": 3}},
}
# Settings of the sections after the images: the whole study is run.
OF_MODELS = {
    "plan-validation_fraction": {"plan": {"folds": 3, "validation_fraction": 0.3}},
    "plan-folds": {"plan": {"folds": 3}},
    "plan-repeats": {"plan": {"folds": 1, "repeats": 2}},
    "training-iterations": {"training": {"iterations": 6}},
    "models": {"models": {"volume": {"kind": "feature", "feature": "pet_index_suvmax"}}},
    "ensembles": {"ensembles": {"both": ["lasso", "volume"]}},
    "evaluation-horizons_days": {"evaluation": {"horizons_days": [500]}},
    "report-examples": {"report": {"examples": 1}},
}


def changed(config: dict, change: dict) -> dict:
    """A configuration with some keys of its sections changed."""
    return {**config, **{section: {**config.get(section, {}), **keys} for section, keys in change.items()}}


def results(study: Study) -> dict[str, bytes]:
    """Every result of a study, by its path within the results, without the seconds that training took."""
    return {
        str(path.relative_to(study.results)): COST.sub(b"", path.read_bytes())
        for path in sorted(study.results.rglob("*"))
        if path.is_file()
        and path.name not in NO_RESULT_FILES
        and path.relative_to(study.results).parts[0] not in NO_RESULTS
    }


@contextlib.contextmanager
def put_back(study: Study, kept: Path) -> Iterator[None]:
    """Give a study its results, records and settings back; paths of files stand in some results."""
    made, config = (study.house / "results", study.house / ".snakemake"), study.config
    for folder in made:
        shutil.copytree(folder, kept / folder.name, symlinks=True)
    try:
        yield
    finally:
        study.config = config
        for folder in made:
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(kept / folder.name, folder)


def require_change_reaches_all(study: Study, change: dict, tmp_path: Path, targets: tuple[str, ...]) -> None:
    """Change a finished study, run it, run it again, and compare it with one made afresh."""
    with put_back(study, tmp_path):
        study.config = changed(study.config, change)
        study.snakemake(*targets)
        assert "Nothing to be done" in study.snakemake("-n", *targets)
        after = results(study)
        for folder in ("results", ".snakemake"):
            shutil.rmtree(study.house / folder)
        study.snakemake(*targets)
        expected = results(study)
    different = [name for name in expected if after.get(name) != expected[name]]
    assert not different, f"{len(different)} of {len(expected)} results are stale: {different[:20]}"


@pytest.mark.parametrize("change", [*OF_IMAGES.values(), *OF_MODELS.values()], ids=str)
def test_every_change_is_a_valid_study(change: dict) -> None:
    """The nightly matrix below is not to fail for a value that the settings have stopped to know."""
    assert load_settings(changed(tiny_config(), change)) != load_settings(tiny_config())


@pytest.fixture(scope="session")
def few_patients(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two development patients, run to crops and features."""
    study = Study(copy_house(tmp_path_factory.mktemp("few") / "repo"), tiny_config())
    (study.house / "cohort.csv").write_text("\n".join(tiny_rows()[:3]) + "\n")
    study.snakemake(*UP_TO_IMAGES)
    return study


@pytest.mark.xdist_group("change_and_rerun")
def test_changed_contours_move_the_crops(few_patients: Study, tmp_path: Path) -> None:
    require_change_reaches_all(few_patients, OF_IMAGES["contours-roi"], tmp_path, UP_TO_IMAGES)


@pytest.mark.nightly
@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in OF_IMAGES.items()])
def test_settings_of_images_reach_every_crop_and_feature(
    few_patients: Study, change: dict, tmp_path: Path
) -> None:
    require_change_reaches_all(few_patients, change, tmp_path, UP_TO_IMAGES)


@pytest.mark.nightly
@pytest.mark.parametrize("change", [pytest.param(change, id=name) for name, change in OF_MODELS.items()])
def test_settings_of_models_reach_the_report(finished_study: Study, change: dict, tmp_path: Path) -> None:
    require_change_reaches_all(finished_study, change, tmp_path, ())
