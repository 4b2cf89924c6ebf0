"""The standard's processing and features on lesions small enough to count by hand, or by brute force."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import RadiomicsError, SettingsError
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.sets import feature_columns, load_feature_set
from pipeline.radiomics.standard_intensity import HistogramAxis, histogram, volume_histogram
from pipeline.radiomics.standard_processing import processed, resegmented
from pipeline.radiomics.standard_shape import autocorrelation
from pipeline.settings.radiomics import Discretisation, FeatureSet, RadiomicsSettings, StandardProcessing

LEVELS = Discretisation(bin_width=1, lower_bound=1)


def image_of(values: list, mask: np.ndarray | None = None, spacing: tuple = (1.0, 1.0, 1.0)) -> FeatureImage:
    array = np.asarray(values, dtype=np.float32)
    lesion = np.ones(array.shape, bool) if mask is None else mask
    return FeatureImage(array, lesion, np.ones(array.shape, bool), spacing)


def features_of(image: FeatureImage, **processing: object) -> dict[str, float]:
    feature_set = FeatureSet(
        title="by hand",
        modalities=("ct",),
        standard=StandardProcessing.model_validate(processing),
        discretisations={"ct": (LEVELS,)},
    )
    extraction = extract_features({"ct": image}, feature_set, min_voxels=1)
    assert list(extraction.values) == list(feature_columns(feature_set))
    return {name.removeprefix("ct_original_"): value for name, value in extraction.values.items()}


def test_the_new_grid_shares_the_old_ones_centre() -> None:
    """Five voxels of 3 mm become eight of 2 mm: 0.5 · (4 · 3 - 7 · 2) = -1 mm is the first's centre."""
    ramp = np.broadcast_to(np.arange(5.0)[:, None, None] * 3, (5, 9, 9))
    image = image_of(ramp, spacing=(3.0, 2.0, 2.0))
    result = processed(image, "pet", StandardProcessing(spacing_mm=2))
    assert result.values.shape == (8, 9, 9)
    # Linear within the image; beyond its outermost centres the outermost value.
    assert result.values[:, 4, 4] == pytest.approx([0, 1, 3, 5, 7, 9, 11, 12])
    by_slice = processed(image, "pet", StandardProcessing(spacing_mm=1, merging=("2D_avg",)))
    assert by_slice.values.shape == (5, 18, 18) and by_slice.spacing_mm == (3.0, 1.0, 1.0)


def test_a_ct_is_rounded_where_it_was_resampled() -> None:
    image = image_of(np.full((4, 4, 4), 10.4), spacing=(3.0, 3.0, 3.0))
    assert processed(image, "ct", StandardProcessing(spacing_mm=2)).values.max() == 10
    assert processed(image, "ct", StandardProcessing()).values.max() == pytest.approx(10.4)
    assert processed(image, "pet", StandardProcessing(spacing_mm=2)).values.max() == pytest.approx(10.4)


def test_resegmentation_by_hand() -> None:
    values = np.array([[[-600.0, -500, 0, 0, 0, 0, 0, 0, 0, 400, 401]]])
    mask = np.ones(values.shape, bool)
    assert resegmented(values, mask, (-500, 400), None).sum() == 9  # both ends count
    # Mean -100/9 and SD 205 of those nine: 400 lies 2.0 SD above it, -500 2.4 below.
    assert resegmented(values, mask, (-500, 400), 2.2).sum() == 8
    image = image_of(np.full((3, 3, 3), 500.0))
    with pytest.raises(RadiomicsError, match="no voxel of the lesion is left"):
        processed(image, "ct", StandardProcessing(ranges={"ct": (-500, 400)}))


def test_shape_is_that_of_the_whole_lesion_and_intensity_that_of_the_range() -> None:
    values = np.full((4, 4, 4), 2.0)
    values[0, 0, 0] = 900
    features = features_of(image_of(values), ranges={"ct": (0, 400)})
    assert features["morph_vol_approx"] == 64
    assert (features["stat_max"], features["stat_energy"]) == (2, 63 * 4)


def test_zones_and_their_distance_from_the_border_by_hand() -> None:
    """A cube of 5³ voxels of level 1 with a voxel of level 3 in its centre, three steps from outside."""
    values = np.ones((5, 5, 5))
    values[2, 2, 2] = 3
    features = features_of(image_of(values), families=["szm", "dzm"])
    assert features["szm_lze_3D"] == pytest.approx((124**2 + 1) / 2)
    assert features["szm_hgze_3D"] == pytest.approx((1 + 9) / 2)
    assert features["dzm_lde_3D"] == pytest.approx((1**2 + 3**2) / 2)
    assert features["dzm_ldhge_3D"] == pytest.approx((1 + 9 * 9) / 2)
    assert features["dzm_z_perc_3D"] == pytest.approx(2 / 125)


def test_the_border_is_that_of_the_morphological_mask() -> None:
    values = np.ones((5, 5, 5))
    values[2, 2, 1] = 900  # left out by the range; the centre stays three steps from outside
    values[2, 2, 2] = 3
    features = features_of(image_of(values), families=["dzm"], ranges={"ct": (0, 400)})
    assert features["dzm_lde_3D"] == pytest.approx((1**2 + 3**2) / 2)


def test_dependence_by_hand() -> None:
    """Levels 1 1 2 in a row: two voxels share their level with one neighbour, one with none."""
    features = features_of(image_of([[[1, 1, 2]]]), families=["ngl"])
    assert features["ngl_hde_3D"] == pytest.approx((2 * 2**2 + 1) / 3)
    assert features["ngl_ldhge_3D"] == pytest.approx((2 * 1 / 4 + 4) / 3)
    assert features["ngl_dc_energy_3D"] == pytest.approx((4 + 1) / 9)
    assert features["ngl_dc_perc_3D"] == 1


def test_merging_of_slices_by_hand() -> None:
    """Slices (1 2) and (1 1 / 1 1): contrast 1 and 0; pairs of them 2 (both ways) and 12."""
    values = np.ones((2, 2, 2))
    values[0, 0, 1] = 2
    mask = np.ones((2, 2, 2), bool)
    mask[0, 1] = False
    image = image_of(values, mask)
    features = features_of(image, families=["cm"], merging=["2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb"])
    assert features["cm_contrast_2D_comb"] == pytest.approx((1 + 0) / 2)
    assert features["cm_contrast_2_5D_comb"] == pytest.approx(2 / 14)
    # By direction: along x (1 2), 2 pairs of 6 with contrast 1; along y and both diagonals none.
    assert features["cm_contrast_2_5D_avg"] == pytest.approx((2 / 6) / 4)
    # Five matrices hold pairs: one of the first slice, four of the second.
    assert features["cm_contrast_2D_avg"] == pytest.approx(1 / 5)


def test_histogram_by_hand() -> None:
    from pipeline.radiomics.images import discretise

    values = np.array([[[1.0, 1, 1, 2, 4, 4]]])
    features = histogram(discretise(values, np.ones(values.shape, bool), LEVELS, 1.0))
    # Counts 3 1 0 2: gradients -2, -1.5, 0.5, 2.
    assert (features["max_grad"], features["max_grad_g"]) == (2, 4)
    assert (features["min_grad"], features["min_grad_g"]) == (-2, 1)
    assert features["mode"] == 1
    assert features["uniformity"] == pytest.approx((9 + 1 + 4) / 36)


def test_volume_histogram_by_hand() -> None:
    values = np.arange(10.0)
    features = volume_histogram(values, HistogramAxis(0.0, 10.0))
    assert features["v10"] == pytest.approx(0.9) and features["v90"] == pytest.approx(0.1)
    assert features["i10"] == 9 and features["i90"] == 1
    # Of the levels 1 and 6 the lowest that at most a tenth of the volume reaches is 2, which none has.
    gap = volume_histogram(np.r_[np.ones(9), 6.0], HistogramAxis(1.0, 6.0, 1.0))
    assert gap["i10"] == 2


def test_autocorrelation_equals_all_pairs() -> None:
    rng = np.random.default_rng(3)
    values, mask = rng.normal(size=(5, 6, 4)), rng.random((5, 6, 4)) < 0.6
    spacing = (3.0, 1.5, 1.0)
    points, x = np.argwhere(mask) * spacing, values[mask]
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    weight = np.divide(1, distance, out=np.zeros_like(distance), where=distance > 0)
    residual = x - x.mean()
    n, total, scatter = len(x), weight.sum(), (residual**2).sum()
    moran = n / total * (weight * np.outer(residual, residual)).sum() / scatter
    geary = (n - 1) / (2 * total) * (weight * (x[:, None] - x[None]) ** 2).sum() / scatter
    features = autocorrelation(values, mask, spacing)
    assert features["moran_i"] == pytest.approx(moran, rel=1e-9)
    assert features["geary_c"] == pytest.approx(geary, rel=1e-9)


def test_peaks_of_a_hot_voxel_and_of_a_warm_region() -> None:
    """The hottest voxel lies at the edge; the highest mean of 1 cm³ elsewhere."""
    values = np.zeros((1, 1, 9)) + 1.0
    values[0, 0, 5:8], values[0, 0, 0] = 9.0, 10.0
    features = features_of(image_of(values, spacing=(20.0, 20.0, 4.0)), families=["loc"])
    # A sphere of 6.2 mm holds a voxel and its neighbours at 4 mm.
    assert features["loc_peak_loc"] == pytest.approx((10 + 1) / 2)
    assert features["loc_peak_glob"] == pytest.approx(9)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 1, 2), (1, 4, 4)])
def test_degenerate_lesions_give_values_or_nothing_but_no_failure(shape: tuple) -> None:
    values = np.full((6, 6, 6), 5.0)
    mask = np.zeros((6, 6, 6), bool)
    mask[tuple(slice(1, 1 + n) for n in shape)] = True
    for merging in (["3D_avg", "3D_comb"], ["2D_avg", "2_5D_comb"]):
        feature_set = FeatureSet(
            title="small",
            modalities=("ct",),
            standard=StandardProcessing.model_validate({"merging": merging}),
            discretisations={"ct": (LEVELS,)},
        )
        extraction = extract_features({"ct": image_of(values, mask)}, feature_set, min_voxels=1)
        assert extraction.problems == []
        assert extraction.values["ct_original_stat_mean"] == 5


def test_small_lesions_have_no_texture() -> None:
    feature_set = load_feature_set(RadiomicsSettings(feature_set="ibsi_all"))
    image = image_of(np.full((2, 2, 1), 3.0))
    extraction = extract_features({"pet": image, "ct": image}, feature_set, min_voxels=8)
    assert len(extraction.problems) == 2 and "fewer than 8" in extraction.problems[0]
    assert np.isnan(extraction.values["pet_original_cm_contrast_3D_avg"])
    assert extraction.values["pet_original_stat_mean"] == 3


def test_sets_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    start = "title: mine\nmodalities: [ct]\ndiscretisations: {ct: [{bin_width: 25}]}\n"
    for wrong, problem in (
        ("shape: [Flatness]\nstandard: {}\n", "leave out shape"),
        ("standard: {merging: [2D_avg, 3D_avg]}\n", "sets of their own"),
        ("standard: {ranges: {ct: [400, -500]}}\n", "the range of 'ct' is empty"),
        ("wavelet: coif1\n", "no physical zero"),
    ):
        path.write_text(start + wrong)
        with pytest.raises(SettingsError, match=problem):
            load_feature_set(RadiomicsSettings(feature_set=str(path)))
    with pytest.raises(SettingsError, match="standardised intensities"):
        load_feature_set(RadiomicsSettings(feature_set="ibsi_all", intensities="zscored"))
