"""What is flagged, and what is refused."""

from __future__ import annotations

import pytest

from pipeline.deploy import flags
from pipeline.errors import PipelineError
from tests.deploy.synthetic_bundle import CODE, make_manifest


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
    assert not flags.other_code(manifest, CODE) and flags.other_code(manifest, CODE[::-1])
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
