"""Agreement over perturbed contours."""

import numpy as np
import pandas as pd
import pytest

from pipeline.errors import TableError
from pipeline.metrics.stability import PerturbedFeatures, gather_stability, intraclass_correlation


def test_icc_of_shrout_and_fleiss() -> None:
    # Shrout & Fleiss 1979, table 2: six targets, four judges; ICC(1,1) = .17 (table 4).
    # Interval of R's psych::ICC on the same data: -0.13 … 0.72.
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    agreement = intraclass_correlation(ratings)
    assert agreement.icc == pytest.approx(0.17, abs=0.005)
    assert (agreement.low, agreement.high) == pytest.approx((-0.13, 0.72), abs=0.005)


def test_icc_recovers_the_share_of_variance_between_patients() -> None:
    # Variances 4 between and 1 within: 4 / (4 + 1).
    rng = np.random.default_rng(0)
    values = rng.normal(0, 2, (4000, 1)) + rng.normal(0, 1, (4000, 3))
    agreement = intraclass_correlation(values)
    assert agreement.icc == pytest.approx(0.8, abs=0.02)
    assert agreement.low < 0.8 < agreement.high


def test_icc_at_its_ends() -> None:
    assert intraclass_correlation([[1, 1], [2, 2]]).icc == 1
    assert np.isnan(intraclass_correlation([[3, 3], [3, 3]]).icc)
    with pytest.raises(TableError, match="two patients"):
        intraclass_correlation([[1, 2, 3]])


def test_features_side_by_side_are_features_one_by_one() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(0, 2, (12, 1, 5)) + rng.normal(0, [0.1, 0.5, 1, 2, 4], (12, 4, 5))
    values[3, 2, 1] = values[[2, 5], 0, 2] = np.nan
    values[:, :, 4] = 7.0
    agreement = intraclass_correlation(values)
    assert agreement.patients.tolist() == [12, 11, 10, 12, 12]
    for p in range(5):
        whole = values[np.isfinite(values[:, :, p]).all(axis=1), :, p]
        alone = intraclass_correlation(whole)
        np.testing.assert_allclose(
            [agreement.icc[p], agreement.low[p], agreement.high[p]],
            [alone.icc, alone.low, alone.high],
            rtol=1e-12,
        )
    assert agreement.icc[0] > agreement.icc[2] > agreement.icc[3] and np.isnan(agreement.icc[4])


def frame(patients: str, perturbations: str = "abc") -> pd.DataFrame:
    rng = np.random.default_rng(2)
    rows = [(p, k, ord(p) + rng.normal(), rng.normal()) for p in patients for k in perturbations]
    return pd.DataFrame(rows, columns=["patient_id", "perturbation", "steady", "noise"])


def test_agreement_is_that_of_the_patients_asked_for() -> None:
    table = frame("ABCDEFGH")
    outside = table["patient_id"].isin(list("EFGH"))
    changed = table.assign(
        steady=np.where(outside, np.random.default_rng(3).normal(size=24), table["steady"])
    )
    before, after = (PerturbedFeatures.of(t).agreement("ABCD") for t in (table, changed))
    pd.testing.assert_frame_equal(before, after)
    assert not before.equals(PerturbedFeatures.of(table).agreement("ABCDEFGH"))


def test_rows_may_come_in_any_order_and_incomplete_patients_are_left_out() -> None:
    table = pd.concat([frame("ABCD"), frame("Z", "ab")])
    shuffled = table.sample(frac=1, random_state=0)
    ordered, reordered = PerturbedFeatures.of(table), PerturbedFeatures.of(shuffled)
    assert ordered.patients == reordered.patients == tuple("ABCD")
    np.testing.assert_array_equal(ordered.values, reordered.values)
    with pytest.raises(TableError, match="two patients"):
        ordered.agreement("AZ")


def test_no_patient_with_a_contour_gives_empty_tables(tmp_path) -> None:
    path = tmp_path / "P.parquet"
    frame("AB").iloc[:0].to_parquet(path)
    gather_stability([path], ["A"], tmp_path / "all.parquet", tmp_path / "all.csv")
    assert len(pd.read_parquet(tmp_path / "all.parquet")) == len(pd.read_csv(tmp_path / "all.csv")) == 0
