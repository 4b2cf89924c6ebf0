"""Values equal those of plain PyRadiomics 3.0.1 calls on whole images: 1e-9 relative or 1e-12 absolute."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.radiomics_features import feature_images, plain_features, synthetic
from pipeline.radiomics import features as features_module
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import FeatureImage, discretise
from pipeline.radiomics.sets import feature_columns, load_feature_set
from pipeline.settings.radiomics import Discretisation, FeatureSet, RadiomicsSettings

STS = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[2] / "../shared/data")) / "sts"
SPACING = (3.0, 2.0, 1.5)


def named(name: str) -> FeatureSet:
    """A set with grey levels as a plain call has them: fixed widths begin at the lesion's minimum."""
    feature_set = load_feature_set(RadiomicsSettings(feature_set=name))
    rules = {
        modality: tuple(
            rule if rule.bins else rule.model_copy(update={"lower_bound": "lesion"}) for rule in rules
        )
        for modality, rules in feature_set.discretisations.items()
    }
    return feature_set.model_copy(update={"discretisations": rules})


def assert_same(feature_set: FeatureSet, images: dict, mask: np.ndarray, spacing: tuple) -> dict[str, float]:
    extraction = extract_features(feature_images(images, mask, spacing), feature_set)
    assert extraction.problems == []
    reference: dict[str, float] = {}
    for modality in feature_set.modalities:
        reference |= plain_features(feature_set, images[modality], mask, spacing, modality)
    assert set(extraction.values) == set(reference)
    keys = sorted(reference)
    np.testing.assert_allclose(
        [extraction.values[k] for k in keys],
        [reference[k] for k in keys],
        rtol=1e-9,
        atol=1e-12,
        err_msg="values in the order of " + ", ".join(keys[:3]) + " …",
    )
    return reference


@pytest.mark.parametrize("name", ["deepmts", "hecktor", "ibsi", "demo"])
def test_every_set_equals_plain_calls(name: str) -> None:
    images, mask = synthetic(2500, shape=(41, 44, 47), seed=3)
    assert_same(named(name), images, mask, SPACING)


@pytest.mark.parametrize("shift", [(-14, 0, 0), (0, 16, 0), (0, 0, -17), (-14, -16, 17)])
def test_lesions_at_the_border_see_the_wavelets_wrap_round(shift: tuple[int, int, int]) -> None:
    images, mask = synthetic(1500, shape=(41, 44, 47), seed=4)
    moved = np.roll(mask, shift, (0, 1, 2)) if shift != (-14, -16, 17) else corner(mask.shape)
    assert_same(named("deepmts"), images, moved, SPACING)


def corner(shape: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[:9, :7, -8:] = True
    return mask


def test_several_lesions_and_holes() -> None:
    images, mask = synthetic(1500, shape=(41, 44, 47), seed=5)
    mask[18:22, 20:24, 22:25] = False
    mask[2:5, 3:6, 40:45] = True
    mask[38, 1, 1] = True  # a voxel with no neighbour
    assert_same(named("deepmts"), images, mask, SPACING)


def test_scattered_voxels() -> None:
    images, mask = synthetic(1500, shape=(21, 24, 27), seed=6)
    scattered = mask & (np.random.default_rng(0).random(mask.shape) < 0.3)
    assert_same(named("deepmts"), images, scattered, SPACING)


def test_a_diagonal_line_has_one_direction_with_pairs() -> None:
    images, _ = synthetic(900, shape=(31, 34, 37), seed=10)
    line = np.zeros((31, 34, 37), bool)
    line[range(5, 25), range(6, 26), range(4, 24)] = True
    assert_same(named("ibsi"), images, line, SPACING)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flat_lesions(axis: int) -> None:
    images, mask = synthetic(4000, shape=(41, 44, 47), seed=7)
    flat = np.zeros_like(mask)
    index = [slice(None)] * 3
    index[axis] = slice(20, 21)
    flat[tuple(index)] = mask[tuple(index)]
    reference = assert_same(named("ibsi"), images, flat, SPACING)
    assert reference["ct_original_shape_Flatness"] == pytest.approx(0, abs=1e-6)


def test_a_constant_lesion() -> None:
    _, mask = synthetic(900, shape=(31, 34, 37), seed=8)
    images = {"pet": np.full(mask.shape, 3.0, np.float32), "ct": np.full(mask.shape, 50.0, np.float32)}
    extraction = extract_features(feature_images(images, mask, SPACING), named("ibsi"))
    assert extraction.problems == []
    for modality in ("pet", "ct"):
        reference = plain_features(named("ibsi"), images[modality], mask, SPACING, modality)
        for key, value in reference.items():
            assert extraction.values[key] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), key
    assert extraction.values["ct_original_firstorder_Variance"] == 0


@pytest.mark.parametrize(
    "rule",
    [
        Discretisation(bins=32),
        Discretisation(bins=2),
        Discretisation(bin_width=0.1, lower_bound="lesion"),
        Discretisation(bin_width=7, lower_bound="lesion"),
    ],
)
def test_every_discretisation(rule: Discretisation) -> None:
    images, mask = synthetic(900, shape=(31, 34, 37), seed=9)
    changed = named("demo").model_copy(update={"modalities": ("pet",), "discretisations": {"pet": (rule,)}})
    assert_same(changed, images, mask, SPACING)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "rule", [Discretisation(bin_width=w) for w in (0.1, 0.3, 1, 25)] + [Discretisation(bins=7)]
)
def test_levels_of_values_on_the_edges(rule: Discretisation, dtype: type) -> None:
    from radiomics.imageoperations import binImage

    rng = np.random.default_rng(11)
    image = (rng.integers(-300, 300, (20, 20, 20)) * 0.1).astype(dtype)
    mask = rng.random(image.shape) < 0.7
    options = {"binCount": rule.bins} if rule.bins else {"binWidth": rule.bin_width}
    # the edges themselves and the numbers next to them, where a quotient may round the wrong way
    edges = binImage(image, mask, **options)[1]
    edges = edges[(edges > image[mask].min()) & (edges < image[mask].max())].astype(dtype)
    beside = np.concatenate([edges, np.nextafter(edges, dtype(-1e9)), np.nextafter(edges, dtype(1e9))])
    image[mask] = np.resize(np.concatenate([image[mask][:1000], beside]), mask.sum())
    expected, _ = binImage(image, mask, **options)
    levels = discretise(image, mask, rule)
    assert np.array_equal(levels.array, expected)
    assert np.array_equal(levels.present[levels.ranks], expected[mask])
    assert np.array_equal(levels.counts, np.unique(expected[mask], return_counts=True)[1])


def test_levels_begin_at_a_fixed_bound_by_hand() -> None:
    image = np.array([[[-0.2, 0.0, 0.49, 0.5, 1.3, 9.0]]])
    mask = np.array([[[True, True, True, True, True, False]]])
    pet = Discretisation(bin_width=0.5)
    bound = pet.fixed_bound("pet")
    assert bound == 0
    # floor(x / 0.5) + 1, and level 1 below the bound
    assert discretise(image, mask, pet, bound).array.tolist() == [[[1, 1, 1, 2, 3, 0]]]
    ct = Discretisation(bin_width=25)
    assert ct.fixed_bound("ct") == -1000
    levels = discretise(image * 100, mask, ct, ct.fixed_bound("ct"))
    assert levels.array.tolist() == [[[40, 41, 42, 43, 46, 0]]]  # -20, 0, 49, 50, 130 HU
    assert Discretisation(bin_width=25, lower_bound=-500).fixed_bound("ct") == -500
    assert Discretisation(bin_width=25, lower_bound="lesion").fixed_bound("ct") is None


def test_the_same_uptake_has_the_same_level_in_every_lesion() -> None:
    """A lesion from which the coolest voxels are taken keeps its levels."""
    images, mask = synthetic(900, shape=(31, 34, 37), seed=9)
    hotter = mask & (images["pet"] > 4)
    rule = Discretisation(bin_width=0.5)
    whole, part = (discretise(images["pet"], m, rule, rule.fixed_bound("pet")) for m in (mask, hotter))
    assert np.array_equal(whole.array[hotter], part.array[hotter])
    assert np.array_equal(whole.array[mask], np.floor(images["pet"][mask] / 0.5) + 1)


@pytest.mark.parametrize("failure", [RuntimeError, IndexError, KeyError, MemoryError])
def test_a_failing_class_leaves_the_rest_and_is_reported(
    monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    whole = features_module.texture_features

    def failing(kind: str, *arguments: object) -> dict[str, float]:
        if kind == "glrlm":
            raise failure("out of luck")
        return whole(kind, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(features_module, "texture_features", failing)
    extraction = extract_features(
        feature_images(*synthetic(800, shape=(21, 24, 27), seed=2), SPACING), named("demo")
    )
    bad = {key for key, value in extraction.values.items() if np.isnan(value)}
    assert bad and all("_glrlm_" in key for key in bad)
    message = f"{failure.__name__}: {failure('out of luck')}"
    assert extraction.problems == [f"{m}_original_glrlm failed: {message}" for m in ("pet", "ct")]


def test_workers_give_the_same_table() -> None:
    images, mask = synthetic(800, shape=(21, 24, 27), seed=2)
    shared_images = feature_images(images, mask, SPACING)
    alone = extract_features(shared_images, named("deepmts"))
    shared = extract_features(shared_images, named("deepmts"), workers=2)
    assert alone.values == shared.values


def test_distributed_workers_give_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distributed import LocalCluster

    images, mask = synthetic(800, shape=(21, 24, 27), seed=2)
    shared_images = feature_images(images, mask, SPACING)
    alone = extract_features(shared_images, named("deepmts"))
    with LocalCluster(
        2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as cluster:
        monkeypatch.setenv("SUVIVAL_CLUSTER", cluster.scheduler_address)
        shared = extract_features(shared_images, named("deepmts"))
    assert alone.values == shared.values


def rasterised(folder: Path, roi: str) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Image, mask and spacing of a patient, by a reader of this test that fills contours slice by slice."""
    import pydicom
    import SimpleITK as sitk
    from skimage.draw import polygon2mask

    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "image"))
    image = sitk.ReadImage(names)
    structures = pydicom.dcmread(next((folder / "mask").glob("*.dcm")))
    number = next(s.ROINumber for s in structures.StructureSetROISequence if s.ROIName == roi)
    array = sitk.GetArrayFromImage(image).astype(np.float32)
    mask = np.zeros(array.shape, bool)
    for item in structures.ROIContourSequence:
        if item.ReferencedROINumber != number:
            continue
        for contour in item.ContourSequence:
            points = np.reshape([float(v) for v in contour.ContourData], (-1, 3))
            index = np.array([image.TransformPhysicalPointToContinuousIndex(p) for p in points.tolist()])
            z = round(index[0, 2])
            if 0 <= z < len(mask):
                mask[z] ^= polygon2mask(mask.shape[1:], index[:, 1::-1])
    x, y, z_mm = image.GetSpacing()
    return array, mask, (z_mm, y, x)


def sarcoma_patients() -> list:
    names = sorted(path.name.removesuffix(".tar.xz") for path in STS.glob("STS_*.tar.xz"))
    return [pytest.param(n, marks=() if k in (0, 13) else pytest.mark.nightly) for k, n in enumerate(names)]


def unpacked(patient: str, folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray, tuple]]:
    with tarfile.open(STS / f"{patient}.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return {m: rasterised(folder / patient / m.upper(), f"GTV_Mass_{m.upper()}") for m in ("pet", "ct")}


@pytest.mark.skipif(not STS.is_dir(), reason=f"no sarcoma patients at {STS}")
@pytest.mark.parametrize("patient", sarcoma_patients() or ["none"])
@pytest.mark.parametrize("name", ["deepmts", "hecktor", "ibsi"])
def test_real_patients(patient: str, name: str, tmp_path: Path) -> None:
    """Each image on its own grid."""
    values: dict[str, float] = {}
    for modality, (image, mask, spacing) in unpacked(patient, tmp_path).items():
        single = named(name).model_copy(update={"modalities": (modality,)})
        values |= assert_same(single, {modality: image}, mask, spacing)
    # Extracted separately, each image has shape features; the set has those of the CT only.
    columns = [column for column in values if not column.startswith("pet_original_shape_")]
    assert sorted(columns) == sorted(feature_columns(named(name)))
    assert np.isfinite(list(values.values())).all()


@pytest.mark.nightly
@pytest.mark.skipif(not STS.is_dir(), reason=f"no sarcoma patients at {STS}")
def test_no_column_is_constant_over_real_patients(tmp_path: Path) -> None:
    names = ["deepmts", "hecktor", "ibsi"]
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for patient in [p.values[0] for p in sarcoma_patients()[:6]]:
        loaded = unpacked(patient, tmp_path)
        shown = {m: FeatureImage(i, k, np.ones_like(k), s) for m, (i, k, s) in loaded.items()}
        for name in names:
            rows[name].append(extract_features(shown, named(name)).values)
    for name in names:
        values = np.array([[row[column] for column in feature_columns(named(name))] for row in rows[name]])
        still = np.ptp(values, axis=0) <= 1e-9 * np.abs(values).max(axis=0)
        assert [c for c, s in zip(feature_columns(named(name)), still, strict=True) if s] == []
