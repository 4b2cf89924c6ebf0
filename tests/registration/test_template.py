"""The template: blind to outcome, from a frozen list, named or a file."""

from __future__ import annotations

import json

import pytest

from pipeline.errors import SettingsError
from pipeline.registration.template import choose_template
from pipeline.settings.geometry import RegistrationSettings
from pipeline.tables.frozen_selection import frozen_patients
from pipeline.tables.status import Status, write_status

AUTO = RegistrationSettings(working_mm=8.0)
NAMES = ("A", "B", "C", "D", "E")


@pytest.fixture
def choose(write_head, make_grid):
    """Choose among named patients; the patient chosen."""
    folders = {name: write_head(name, on=make_grid((36, 56, 56), (6.0, 5.0, 5.0))) for name in NAMES}
    out = write_head.root / "template"

    def run(names=NAMES, settings=AUTO, seed=1, frozen=None) -> str:
        choose_template([folders[name] for name in names], out, settings, seed, frozen)
        return json.loads((out / "template.json").read_text())["patient_id"]

    run.folders = folders  # type: ignore[attr-defined]
    return run


def test_the_seed_decides_and_the_order_does_not(choose):
    assert choose() == choose(NAMES[::-1])
    assert len({choose(seed=seed) for seed in range(12)}) > 1


def test_excluded_patients_are_skipped(choose):
    first = choose()
    write_status(choose.folders[first], Status("excluded", "convert", "damaged"))
    assert choose() != first


def test_the_frozen_list_keeps_who_took_part(choose, tmp_path):
    # The rule asks `frozen_patients` whom to offer: those who joined later are not offered.
    frozen = tmp_path / "frozen/template.json"
    first = choose(("B", "D", "E"), frozen=frozen)
    offered = frozen_patients(frozen, NAMES)
    assert offered == ["B", "D", "E"]
    assert choose(offered, frozen=frozen) == first


def test_a_named_patient_or_file(choose, write_head):
    assert choose(settings=RegistrationSettings(template="C")) == "C"
    file = choose.folders["B"] / "ct_hu.nii.gz"
    assert choose(settings=RegistrationSettings(template=str(file))) == ""
    with pytest.raises(SettingsError, match="neither a usable development patient nor a file"):
        choose(settings=RegistrationSettings(template="Z"))


def test_nobody_usable(choose):
    with pytest.raises(SettingsError, match="no usable development patient"):
        choose(())
