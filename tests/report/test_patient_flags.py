"""What has to be known of a patient, by severity."""

from __future__ import annotations

from pipeline.report.patient_flags import PatientFlag, PatientFlags, patient_flags, worst_first

PROBLEM = {"stage": "crop", "problem": "the crop holds 80% of the lesion", "consequence": "used"}


def test_warnings_of_stages_come_before_unusual_values_and_notes() -> None:
    suv = {"flags": ["first 2020-01-10, then 2020-01-12"], "assumptions": ["half-life of F-18"]}
    known = patient_flags([PROBLEM], suv, ["Dice 0.21 is low"])
    assert [(flag.severity, flag.stage) for flag in known.flags] == [
        ("warning", "crop"), ("warning", "suv"), ("unusual", "crop"), ("note", "suv"),
    ]  # fmt: skip
    assert known.flags[0].text == "the crop holds 80% of the lesion: used"
    assert known.flags[1].text == "first day 0, then day 2"
    assert known.severity == "warning" and len(known.reasons) == 3


def test_notes_mark_nobody_and_nothing_is_said_twice() -> None:
    known = patient_flags([PROBLEM], {"flags": [PROBLEM["problem"]]}, [])
    assert len(known.flags) == 1
    assert patient_flags([], {"assumptions": ["assumed"]}, []).severity is None


def test_the_worst_patients_stand_first() -> None:
    unusual = PatientFlags((PatientFlag("unusual", "crop", "a"),))
    twice = PatientFlags(unusual.flags * 2)
    warned = PatientFlags((PatientFlag("warning", "suv", "a"),))
    order = worst_first({"A": PatientFlags(()), "B": unusual, "C": twice, "D": warned})
    assert list(order) == ["D", "C", "B", "A"]
