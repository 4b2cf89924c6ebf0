"""Border cases have defined behaviour; regions, native volumes, predicted contours, workers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.radiomics_features import pictures, synthetic
from pipeline.errors import RadiomicsError, SettingsError
from pipeline.radiomics import features as features_module
from pipeline.radiomics.feature_row import read_metadata
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.radiomics_patient import radiomics_patient
from pipeline.radiomics.sets import load_feature_set
from pipeline.radiomics.sources import NativeSources
from pipeline.radiomics.subregions import with_region
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings
from pipeline.store import crops as store
from pipeline.store.attributes import CropAttributes
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume

DEMO = RadiomicsSettings(feature_set="demo")
SHAPE = (20, 24, 22)


def named(name: str) -> FeatureSet:
    return load_feature_set(RadiomicsSettings(feature_set=name))


def images() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "pet": rng.gamma(4, 1.5, SHAPE).astype(np.float32),
        "ct": rng.normal(40, 30, SHAPE).astype(np.float32),
    }


def ball(radius: float = 5.0) -> np.ndarray:
    z, y, x = np.indices(SHAPE)
    return (z - 10) ** 2 + (y - 12) ** 2 + (x - 11) ** 2 <= radius**2


def crop(path: Path, mask: np.ndarray | None, margin: int = 0) -> Path:
    one = images()
    attributes = CropAttributes(path.stem, ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 2.0), margin=margin)
    drawn = None if mask is None else mask.astype(np.uint8)
    image = np.stack([one["pet"], one["ct"]])
    store.write_crop(path, store.Crop(image, drawn, np.ones(SHAPE, np.uint8), attributes))
    return path


def test_one_voxel_has_first_order_and_volume_but_no_texture(tmp_path: Path) -> None:
    # PyRadiomics refuses a single voxel; here the patient stays, and what has no value is NaN.
    mask = np.zeros(SHAPE, bool)
    mask[10, 12, 11] = True
    out = tmp_path / "P1.parquet"
    radiomics_patient(crop(tmp_path / "P1.zarr", mask), out, DEMO, "stop")
    row = pd.read_parquet(out).iloc[0]
    value = float(images()["pet"][10, 12, 11])
    assert row["pet_original_firstorder_Mean"] == row["pet_index_suvmax"] == pytest.approx(value)
    assert row["pet_index_volume_ml"] == pytest.approx(0.012)
    assert row["ct_original_shape_MeshVolume"] == pytest.approx(4 / 3 * 1.5 * 1 * 1)  # an octahedron
    assert row.filter(regex="_glcm_|_glrlm_|Flatness|Elongation").astype(float).isna().all()
    status = read_metadata(out)[b"status"]
    assert status["state"] == "warned" and "1 voxels, fewer than 8" in status["problem"]


def test_touching_the_border_is_told(tmp_path: Path) -> None:
    mask = np.roll(ball(), -5, axis=0)
    out = tmp_path / "P1.parquet"
    radiomics_patient(crop(tmp_path / "P1.zarr", mask), out, DEMO, "stop")
    problem = read_metadata(out)[b"status"]["problem"]
    assert problem.count("touches the border") == 1


@pytest.mark.parametrize("failure", [RuntimeError, IndexError, KeyError, MemoryError])
def test_a_failing_class_leaves_the_rest_and_is_told(
    monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    whole = features_module.texture_features

    def failing(kind: str, *arguments: object) -> dict[str, float]:
        if kind == "glrlm":
            raise failure("out of luck")
        return whole(kind, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(features_module, "texture_features", failing)
    found = extract_features(pictures(images(), ball(), (3.0, 2.0, 2.0)), named("demo"))
    bad = {key for key, value in found.values.items() if np.isnan(value)}
    assert bad and all("_glrlm_" in key for key in bad)
    told = f"{failure.__name__}: {failure('out of luck')}"
    assert found.problems == [f"{m}_original_glrlm failed: {told}" for m in ("pet", "ct")]


def test_workers_give_the_same_table() -> None:
    one, mask = synthetic(800, shape=(21, 24, 27), seed=2)
    shown = pictures(one, mask, (3.0, 2.0, 2.0))
    alone = extract_features(shown, named("deepmts"))
    shared = extract_features(shown, named("deepmts"), workers=2)
    assert alone.values == shared.values


@pytest.mark.long
def test_distributed_workers_give_the_same_table(tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    one, mask = synthetic(800, shape=(21, 24, 27), seed=2)
    shown = pictures(one, mask, (3.0, 2.0, 2.0))
    alone = extract_features(shown, named("deepmts"))
    with (
        LocalCluster(
            2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
        ) as cluster,
        Client(cluster),
    ):
        shared = extract_features(shown, named("deepmts"), workers=2)
    assert alone.values == shared.values


def test_regions_by_hand() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4:6] = True
    pet = np.ones(mask.shape, np.float32)
    pet[4, 4, 4], pet[4, 4, 5] = 10, 4
    inside = np.ones(mask.shape, bool)
    inside[3] = False
    shown = pictures({"pet": pet, "ct": pet * 0}, mask, (1.0, 1.0, 1.0))
    shown = {name: replace(picture, inside=inside) for name, picture in shown.items()}
    hot = with_region(shown, "threshold", RadiomicsSettings())
    assert np.argwhere(hot["ct"].mask).tolist() == [[4, 4, 4]]  # 4 lies below 41 % of 10
    rim = with_region(shown, "peritumoral", RadiomicsSettings(rim_mm=1.0))["pet"].mask
    assert rim.sum() == 10 - 2 and not (rim & (mask | ~inside)).any()
    with pytest.raises(RadiomicsError, match="`peritumoral` is empty"):
        with_region(shown, "peritumoral", RadiomicsSettings(rim_mm=0.5))


def test_zscored_features_do_not_change_with_the_units(tmp_path: Path) -> None:
    settings = RadiomicsSettings(feature_set="deepmts", intensities="zscored")
    radiomics_patient(crop(tmp_path / "P1.zarr", ball()), tmp_path / "a.parquet", settings, "stop")
    attributes = CropAttributes("P2", ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 2.0))
    image = np.stack([images()["pet"] * 4, images()["ct"] * 2 + 100])
    made = store.Crop(image, ball().astype(np.uint8), np.ones(SHAPE, np.uint8), attributes)
    store.write_crop(tmp_path / "P2.zarr", made)
    radiomics_patient(tmp_path / "P2.zarr", tmp_path / "b.parquet", settings, "stop")
    one, two = (pd.read_parquet(tmp_path / f"{name}.parquet").iloc[0] for name in "ab")
    columns = [
        "pet_original_firstorder_Mean",
        "ct_original_firstorder_Variance",
        "ct_original_shape_Sphericity",
    ]
    np.testing.assert_allclose(one[columns].astype(float), two[columns].astype(float), rtol=1e-5)
    assert two["pet_index_suvmax"] == pytest.approx(4 * one["pet_index_suvmax"])


def native(folder: Path, contours: tuple[str, ...]) -> NativeSources:
    grid = Grid(SHAPE, (3.0, 2.0, 2.0), (-5.0, 7.0, 11.0))
    sources = NativeSources("P1", folder / "convert", folder / "suv", folder / "contours")
    one = images()
    write_nifti(sources.convert / "ct_hu.nii.gz", Volume(one["ct"], grid))
    write_nifti(sources.suv / "pet_suvbw.nii.gz", Volume(one["pet"], grid))
    for stage in (sources.suv, sources.contours):
        write_status(stage, Status("ok", stage.name))
    for name in contours:
        write_nifti(sources.contours / f"gtv_{name}.nii.gz", Volume(ball().astype(np.uint8), grid))
    return sources


@pytest.mark.parametrize("contours", [("ct", "pet"), ("pet",), ()])
def test_native_volumes_give_what_a_crop_of_the_same_voxels_gives(tmp_path: Path, contours: tuple) -> None:
    out = tmp_path / "native.parquet"
    settings = DEMO.model_copy(update={"images": "native"})
    radiomics_patient(native(tmp_path, contours), out, settings, "stop")
    status = read_metadata(out)[b"status"]
    if not contours:
        assert "no contour" in status["problem"] and len(pd.read_parquet(out)) == 0
        return
    assert ("was resampled" in status["problem"]) == (len(contours) == 1)
    radiomics_patient(crop(tmp_path / "P1.zarr", ball()), tmp_path / "crop.parquet", DEMO, "stop")
    pd.testing.assert_frame_equal(pd.read_parquet(out), pd.read_parquet(tmp_path / "crop.parquet"))


def test_a_contour_is_not_carried_between_frames_of_reference(tmp_path: Path) -> None:
    settings = DEMO.model_copy(update={"images": "native"})
    sources = native(tmp_path, ("ct",))
    (sources.convert / "pet.json").write_text('{"pet_to_ct": "register"}')
    with pytest.raises(RadiomicsError, match="different frames of reference"):
        radiomics_patient(sources, tmp_path / "P1.parquet", settings, "stop")


def test_images_asked_for_are_never_swapped(tmp_path: Path) -> None:
    settings = DEMO.model_copy(update={"images": "native"})
    with pytest.raises(SettingsError, match="asks for 'native'"):
        radiomics_patient(crop(tmp_path / "P1.zarr", ball()), tmp_path / "P1.parquet", settings, "stop")
    with pytest.raises(SettingsError, match="asks for 'crop'"):
        radiomics_patient(native(tmp_path, ("ct",)), tmp_path / "P1.parquet", DEMO, "stop")


def test_a_set_without_a_discretisation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: mine\ndiscretisations: {pet: [{bin_width: 1}]}\n")
    with pytest.raises(SettingsError, match="discretisations lack 'ct'"):
        load_feature_set(RadiomicsSettings(feature_set=str(path)))
