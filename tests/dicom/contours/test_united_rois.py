"""Unions that a pattern made unawares are warned of with the names of the ROIs."""

import numpy as np
import pytest

from pipeline.dicom.contours.roi import ImageMatch, RoiMask
from pipeline.dicom.contours.united_rois import doubtful_unions
from tests.dicom.contours.contour_helpers import LESION, RoiSpec, patient, rtstruct, run


def roi(name, first, last):
    mask = np.zeros((1, 1, 20), dtype=bool)
    mask[..., first:last] = True
    return RoiMask(name, name, ImageMatch("ct", "referenced series"), mask, "rtstruct")


@pytest.mark.parametrize(
    ("names", "patterns", "words"),
    [
        (("GTV", "GTV_old"), ("GTV*",), ["'GTV_old' may be superseded"]),
        (("GTV", "GTV_ring"), ("GTV*",), ["'GTV_ring' may be made from another one"]),
        (("GTV", "GTV ring 5mm"), ("GTV*",), ["'GTV ring 5mm' may be made"]),
        (("GTV", "GTV_week3"), ("GTV*",), ["'GTV_week3' may be made from another one, or of another time"]),
        (("GTV", "GTV-margin"), ("GTV*",), ["'GTV-margin' may be made"]),
        (("GTV", "GTV_ring"), ("GTV", "GTV_ring"), []),
        (("GTV_optic", "GTV_wallenberg"), ("GTV*",), []),
        (("GTV_spring", "GTV 12"), ("GTV*",), []),
        (("GTVp", "GTVn1"), ("GTV*",), ["primary tumour and lymph nodes: 'GTVp', 'GTVn1'"]),
        (("GTV-T", "GTV-LN"), ("GTV*",), ["primary tumour and lymph nodes"]),
        (("GTV", "GTVn"), ("GTV*",), ["primary tumour and lymph nodes: 'GTV', 'GTVn'"]),
        (("GTV1", "GTV_LN"), ("GTV*",), ["primary tumour and lymph nodes"]),
        (("GTVp", "GTV_Lymph"), ("GTV*",), ["primary tumour and lymph nodes"]),
        (("GTVp", "GTVnd"), ("GTV*",), ["primary tumour and lymph nodes"]),
        (("GTVtumor", "GTVnode"), ("GTV*",), ["primary tumour and lymph nodes"]),
        (("GTVn1", "GTVn2"), ("GTV*",), []),
        (("GTV_lung", "GTV_north"), ("GTV*",), []),
        (("GTVp", "GTVn"), ("GTVp", "GTVn"), []),
        (("GTVp", "GTVn"), ("GTVp*", "GTVn*"), []),
        (("GTV1", "GTV2"), ("GTV*",), []),
        (("GTV_golden", "GTV_threshold"), ("GTV*",), []),
        (("GTV",), ("GTV*",), []),
    ],
)
def test_names(names, patterns, words):
    rois = [roi(name, 4 * number, 4 * number + 4) for number, name in enumerate(names)]
    warnings = doubtful_unions(rois, patterns)
    assert len(warnings) == len(words)
    assert all(word in text for word, text in zip(words, warnings, strict=True))


def test_two_observers_of_one_lesion():
    (warning,) = doubtful_unions([roi("GTV_obs1", 0, 10), roi("GTV_obs2", 2, 12)], ["GTV*"])
    assert "'GTV_obs1' and 'GTV_obs2'" in warning and "0.80" in warning
    assert doubtful_unions([roi("GTV_obs1", 0, 10), roi("GTV_obs2", 2, 12)], ["GTV_obs1", "GTV_obs2"]) == []


def test_an_roi_inside_another_is_told_of():
    # 4 of 20 voxels: a Dice of 0.33 between a GTV and the GTV with a margin.
    by_name, by_overlap = doubtful_unions([roi("GTV", 8, 12), roi("GTV+10mm", 0, 20)], ["GTV*"])
    assert "100 %" in by_overlap and "'GTV+10mm'" in by_overlap
    assert "'GTV+10mm' may be made from another one" in by_name


def test_a_reference_region_of_several_rois_is_told_of(tmp_path):
    moved = [points + np.array([-12.0, 0, 0]) for points in LESION]
    rois = [RoiSpec("GTV", LESION), RoiSpec("Liver", moved), RoiSpec("Liver_mets", LESION)]
    report = run(
        patient(tmp_path, [rtstruct(tmp_path / "a.dcm", rois)]), tmp_path / "out", reference_roi=["Liver*"]
    )
    assert any("'Liver', 'Liver_mets'" in text for text in report["warnings"])


def test_a_patient_is_told_of_it(tmp_path):
    moved = [points + np.array([-12.0, 0, 0]) for points in LESION]
    path = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTVp", LESION), RoiSpec("GTVn", moved)])
    report = run(patient(tmp_path, [path]), tmp_path / "out")
    assert any("'GTVp', 'GTVn'" in text for text in report["warnings"])
