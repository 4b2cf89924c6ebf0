"""Settings of the classes of a mask."""

from __future__ import annotations

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.dicom import ContourSettings
from pipeline.settings.root import load_settings
from tests.settings.minimal import study


def test_classes_are_named_by_values_or_by_patterns():
    by_value = ContourSettings(classes={"gtvp": 1, "gtvn": 2})
    assert by_value.class_names() == ("gtvp", "gtvn")
    assert by_value.class_values() == {"gtvp": 1, "gtvn": 2} and not by_value.class_patterns()
    by_name = ContourSettings(classes={"gtvp": "GTVp*", "gtvn": ["GTVn*", "LN*"]})
    assert by_name.class_patterns() == {"gtvp": ("GTVp*",), "gtvn": ("GTVn*", "LN*")}
    assert not by_name.class_values()
    # A rule gets settings as plain values.
    assert ContourSettings.model_validate(by_name.model_dump(mode="json")) == by_name


@pytest.mark.parametrize(
    ("contours", "message"),
    [
        ({"classes": {"gtvp": 0}}, "1 to 255"),
        ({"classes": {"gtvp": True}}, "1 to 255"),
        ({"classes": {"gtvp": 1.0}}, "1 to 255"),
        ({"classes": {"gtvp": []}}, "pattern of ROI names"),
        ({"classes": {"gtvp": " "}}, "pattern of ROI names"),
        ({"classes": {"gtvp": 1, "gtvn": 1}}, "one value"),
        ({"classes": {"gtvp": 1, "gtvn": "GTVn"}}, "not by both"),
        ({"classes": {"GTVp": 1}}, "lower-case"),
        ({"classes": {"union": 1}}, "none of"),
        ({"classes": {"gtvp": 1}, "margin_mm": 3.0}, "go without margin_mm"),
        ({"classes": {"gtvp": 1}, "shell_mm": 3.0}, "go without shell_mm"),
        ({"classes": {"gtvp": "a"}, "partial_volume": True}, "go without partial_volume"),
        ({"classes": {"gtvp": "a"}, "auto_segment": "fixed_4.0"}, "go without auto_segment"),
        ({"classes": {f"c{n}": n for n in range(1, 18)}}, "at most 16"),
    ],
)
def test_what_cannot_be_told_apart_is_refused(contours, message):
    with pytest.raises(SettingsError, match=message):
        load_settings(study(contours=contours))


def test_slices_have_values_and_disks_one_lesion():
    slices = {"source": "slices"}
    load_settings(study(cohort=slices, contours={"classes": {"ground_glass": 1}}))
    with pytest.raises(SettingsError, match="slices do not have"):
        load_settings(study(cohort=slices, contours={"classes": {"ground_glass": "GG*"}}))
    with pytest.raises(SettingsError, match="generated disks have one lesion"):
        load_settings(study(cohort={"source": "generated"}, disks={}, contours={"classes": {"disk": 1}}))


def test_networks_are_given_the_studys_classes():
    models = {
        "net": {"kind": "hecktor"},
        "risk": {"kind": "hecktor", "task": "survival"},
        "weak": {"kind": "wsl_cam", "losses": {"dice": 0, "labels": ["label_a"]}},
        "volume": {"kind": "feature"},
    }
    given = load_settings(study(models=models, contours={"classes": {"gtvp": 1, "gtvn": 2}}))
    named = {name: network.losses.mask_classes for name, network in given.networks().items()}
    assert named == {"net": ("gtvp", "gtvn"), "risk": (), "weak": ()}
    # What a rule passes on is read again as the same.
    assert load_settings(given.model_dump(mode="json")) == given
    plain = load_settings(study(models=models))
    assert plain.networks()["net"].losses.mask_classes == ()
    models["net"]["losses"] = {"mask_classes": ["gtvp"]}
    with pytest.raises(SettingsError, match="follows from the second"):
        load_settings(study(models=models, contours={"classes": {"gtvp": 1, "gtvn": 2}}))


def test_detected_kinds_are_the_classes():
    slices = {"source": "slices"}
    models = {"net": {"kind": "chest_ct", "tasks": ["detection"], "lesions": 2}}
    load_settings(study(cohort=slices, models=models))
    with pytest.raises(SettingsError, match="detects 2 kinds.*names 3"):
        load_settings(study(cohort=slices, models=models, contours={"classes": {"a": 1, "b": 2, "c": 3}}))


def test_a_class_is_explained_by_its_name_where_the_network_gives_it():
    contours = {"classes": {"gtvp": 1, "gtvn": 2}}
    models = {"net": {"kind": "hecktor"}, "risk": {"kind": "hecktor", "task": "survival"}}
    asked = {"models": ["net"], "target": "mask_gtvn"}
    assert load_settings(study(contours=contours, models=models, explain=asked)).explain.target == "mask_gtvn"
    with pytest.raises(SettingsError, match="'net' predicts mask_gtvp, mask_gtvn"):
        load_settings(study(contours=contours, models=models, explain={**asked, "target": "mask_gtv"}))
    with pytest.raises(SettingsError, match="'risk' predicts no class of a mask"):
        load_settings(study(contours=contours, models=models, explain={**asked, "models": ["risk"]}))
