"""What is flagged, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.deploy import flags
from pipeline.deploy.covariate_shift import covariate_title
from pipeline.deploy.predict import percentile_of
from pipeline.errors import PipelineError
from tests.deploy.synthetic_bundle import make_manifest


def test_only_what_lies_outside_is_out_of_domain() -> None:
    manifest = make_manifest()
    assert not flags.out_of_domain(manifest, {"suvmax": 5.0, "uptake_minutes": 500.0})
    assert not flags.out_of_domain(manifest, {})
    (high,) = flags.out_of_domain(manifest, {"suvmax": 20.1})
    assert high.level == "warning" and "20.1" in high.text and "between 5 and 20" in high.text
    assert len(flags.out_of_domain(manifest, {"suvmax": 4.9})) == 1


def test_scanner_code_and_spread() -> None:
    manifest = make_manifest()
    assert not flags.unknown_scanner(manifest, "Maker One") and not flags.unknown_scanner(manifest, "")
    assert "Maker Two" in flags.unknown_scanner(manifest, "Maker Two")[0].text
    assert not flags.other_code(manifest, "abc") and flags.other_code(manifest, "abd")
    assert not flags.disagreement(0.9) and flags.disagreement(1.1)


def test_suv_flags_and_assumptions() -> None:
    given = flags.suv_flags({"flags": ["SUVmax 200 above 150"], "assumptions": ["half-life of F-18"]})
    assert [f.level for f in given] == ["warning", "note"]
    assert not flags.suv_flags({})


def test_clinical_values() -> None:
    manifest = make_manifest()
    given = {"clinical_age": "63", "clinical_stage": "IV"}
    assert not flags.clinical_flags(manifest, given)
    # The most frequent level has no coefficient of its own, and is known all the same.
    assert not flags.clinical_flags(manifest, {**given, "clinical_stage": "II"})
    (blank,) = flags.clinical_flags(manifest, {**given, "clinical_age": ""})
    assert blank.level == "note" and "training median" in blank.text
    (new,) = flags.clinical_flags(manifest, {**given, "clinical_stage": "V"})
    assert new.level == "warning" and "'V'" in new.text
    for wrong, message in (
        ({"clinical_age": "63"}, "not those the bundle needs.*clinical_stage="),
        ({**given, "clinical_sex": "F"}, "not those the bundle needs"),
        ({**given, "clinical_age": "old"}, "not a number.*'old'"),
        ({**given, "clinical_age": "nan"}, "not a number.*'nan'.*clinical_age= where it is unknown"),
        ({**given, "clinical_age": "inf"}, "not a number.*'inf'"),
    ):
        with pytest.raises(PipelineError, match=message):
            flags.clinical_flags(manifest, wrong)


def test_percentile_is_interpolated() -> None:
    quantiles = make_manifest().cohort.risk_percentiles
    assert percentile_of(0.0, quantiles) == pytest.approx(50)
    assert percentile_of(0.1, quantiles) == pytest.approx(52.5)
    assert percentile_of(-9, quantiles) == 0 and percentile_of(9, quantiles) == 100


def test_titles_of_covariates() -> None:
    assert covariate_title("pet_mean") == "mean of the PET in the crop"
    assert covariate_title("ct_sd") == "SD of the CT in the crop"
    assert covariate_title("clinical_age") == "clinical_age" and "SUVmax" in covariate_title("suvmax")
