"""Masks of several classes: one label volume from ROIs, segments and files with values."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.dicom.contours.contours import ContourSources
from pipeline.tables.status import read_status
from tests.dicom.contours.contour_helpers import (
    CT,
    CT_GRID,
    LESION,
    PET,
    RoiSpec,
    masks,
    patient,
    refused,
    rtstruct,
    run,
    square,
    with_roi,
    write_mask,
)

NODE = [square(8.5, 12.5, z, -14.5, -10.5) for z in (109.0, 112.0)]  # 16 CT voxels a slice
BY_NAME = {"gtvp": "GTVp*", "gtvn": ["GTVn*", "Node*"]}
BY_VALUE = {"gtvp": 1, "gtvn": 2}


def labels(out):
    return masks(out)["gtv_ct.nii.gz"].array


def counts(out):
    return np.bincount(labels(out).ravel(), minlength=3)[1:].tolist()


def drawn(tmp_path, *rois, series=(CT,)):
    return patient(tmp_path, [rtstruct(tmp_path / "a.dcm", [RoiSpec(*roi) for roi in rois], series)])


def test_rois_become_labels_in_the_order_of_the_classes(tmp_path):
    sources = drawn(tmp_path, ("Node 1", NODE[:1]), ("GTVp", LESION), ("GTVn 2", NODE[1:]), ("PTV", LESION))
    report = run(sources, tmp_path / "out", classes=BY_NAME)
    # By hand: 3 slices of 10 × 10 voxels of the primary, 2 of 4 × 4 of the nodes, each 3 mm³.
    assert counts(tmp_path / "out") == [300, 32] and labels(tmp_path / "out").dtype == np.uint8
    assert report["masks"]["ct"]["classes"] == [
        {"name": "gtvp", "label": 1, "voxels": 300, "volume_mask_ml": 0.9},
        {"name": "gtvn", "label": 2, "voxels": 32, "volume_mask_ml": 0.096},
    ]
    assert report["masks"]["ct"]["voxels"] == 332
    assert {roi["name"]: roi["class"] for roi in report["masks"]["ct"]["rois"]} == {
        "GTVp": "gtvp",
        "Node 1": "gtvn",
        "GTVn 2": "gtvn",
    }
    run(sources, tmp_path / "turned", classes=dict(reversed(BY_NAME.items())))
    assert counts(tmp_path / "turned") == [32, 300]


def test_a_class_that_is_not_drawn_is_absent_and_told(tmp_path):
    sources = drawn(tmp_path, ("GTVp", LESION))
    report = run(sources, tmp_path / "out", classes=BY_NAME)
    assert counts(tmp_path / "out") == [300, 0]
    assert [entry["voxels"] for entry in report["masks"]["ct"]["classes"]] == [300, 0]
    assert any("class gtvn" in text and "counts as without it" in text for text in report["warnings"])
    assert read_status(tmp_path / "out").state == "warned"


def test_no_class_at_all_is_no_contour(tmp_path):
    sources = drawn(tmp_path, ("Heart", LESION))
    message = refused(tmp_path, sources, "no ROI has a name", classes=BY_NAME)
    assert "GTVp*" in message and "Node*" in message and "'Heart'" in message
    assert run(sources, tmp_path / "o", classes=BY_NAME, required=False)["contour"] == "none"


def test_overlapping_classes_are_refused_or_ordered(tmp_path):
    # The second square shares two columns of ten voxels in one slice with the first.
    sources = drawn(tmp_path, ("GTVp", LESION), ("GTVn", [square(3.5, 7.5, 112.0, -14.5, -4.5)]))
    message = refused(tmp_path, sources, "gtvp, gtvn overlap", classes=BY_NAME)
    assert "20 voxels (0.06 mL)" in message and "contours.class_overlap" in message
    report = run(sources, tmp_path / "first", classes=BY_NAME, class_overlap="first")
    assert counts(tmp_path / "first") == [300, 20]
    assert any("20 voxels" in text for text in report["warnings"])
    turned = dict(reversed(BY_NAME.items()))
    run(sources, tmp_path / "turned", classes=turned, class_overlap="first")
    assert counts(tmp_path / "turned") == [40, 280]
    inner = drawn(tmp_path / "inner", ("GTVp", LESION), ("GTVn", LESION[:1]))
    refused(tmp_path, inner, "nothing of class gtvn is left", classes=BY_NAME, class_overlap="first")


def test_one_roi_is_of_one_class(tmp_path):
    sources = drawn(tmp_path, ("GTVn", LESION))
    refused(tmp_path, sources, "two classes", classes={"gtv": "GTV*", "gtvn": "GTVn"}, class_overlap="first")


def test_classes_on_two_images_are_refused(tmp_path):
    on_ct = rtstruct(tmp_path / "a.dcm", [RoiSpec("GTVp", LESION)], (CT,))
    on_pet = rtstruct(tmp_path / "b.dcm", [RoiSpec("GTVn", LESION)], (PET,))
    sources = patient(tmp_path, [on_ct, on_pet])
    message = refused(tmp_path, sources, "class gtvn was drawn on the PET", classes=BY_NAME)
    assert "not on the CT" in message


def test_a_class_that_cannot_be_used_does_not_count_as_absent(tmp_path):
    # The node's ROI is there but is a single point: without it the patient would count as without nodes.
    sources = patient(
        tmp_path,
        [rtstruct(tmp_path / "a.dcm", [RoiSpec("GTVp", LESION), RoiSpec("GTVn", [LESION[0][:1]], "POINT")])],
    )
    refused(tmp_path, sources, "contours of class gtvn cannot be used", classes=BY_NAME)


def test_the_tables_entry_names_classes(tmp_path):
    sources = drawn(tmp_path, ("Tumour 1", LESION), ("LN left", NODE[:1]), ("LN right", NODE[1:]))
    report = run(
        with_roi(sources, "gtvp=Tumour*; gtvn = LN left; gtvn=LN right"), tmp_path / "out", classes=BY_NAME
    )
    assert counts(tmp_path / "out") == [300, 32] and not report["warnings"]
    # An entry says what the patient has: no node, without a warning.
    report = run(with_roi(sources, "gtvp=Tumour*"), tmp_path / "one", classes=BY_NAME)
    assert counts(tmp_path / "one") == [300, 0] and not report["warnings"]
    for entry in ("Tumour*", "ctv=Tumour*", "m.nii.gz"):
        message = refused(tmp_path, with_roi(sources, entry), "does not say which class", classes=BY_NAME)
        assert "gtvp=pattern; gtvn=pattern" in message


def test_values_of_a_file_become_labels(tmp_path):
    array = np.zeros(CT_GRID.shape, np.uint8)
    array[1, 1, 1], array[2, 2, :2], array[3, 3, :4] = 7, 3, 9
    write_mask(tmp_path / "m.nii.gz", CT_GRID, array)
    sources = with_roi(patient(tmp_path), "m.nii.gz")
    classes = {"gtvp": 3, "gtvn": 7}
    message = refused(tmp_path, sources, "value that is of no class", classes=classes)
    assert "3 (gtvp), 7 (gtvn)" in message and "got: 9" in message
    chosen = replace(sources, roi="m.nii.gz:3,7")
    report = run(chosen, tmp_path / "out", classes=classes)
    assert np.array_equal(labels(tmp_path / "out"), np.select([array == 3, array == 7], [1, 2], 0))
    assert report["masks"]["ct"]["classes"][1]["volume_mask_ml"] == 0.003
    assert run(chosen, tmp_path / "b", classes={"all_of_it": 3, "b": 7, "c": 9})["masks"]["ct"]["voxels"] == 3


def test_a_file_without_a_class_is_refused(tmp_path):
    write_mask(tmp_path / "m.nii.gz", CT_GRID, np.zeros(CT_GRID.shape, np.uint8))
    refused(tmp_path, with_roi(patient(tmp_path), "m.nii.gz"), "holds no class", classes=BY_VALUE)


@pytest.mark.parametrize("classes", [{"gtvp": "*_p", "gtvn": "*_n"}, {"gtvp": 1, "gtvn": 2}])
def test_files_of_a_nifti_folder(tmp_path, classes):
    sources = patient(tmp_path / "p")
    folder = tmp_path / "images"
    folder.mkdir()
    first, second = np.zeros(CT_GRID.shape, np.uint8), np.zeros(CT_GRID.shape, np.uint8)
    first[2, :4, :4], second[5, 5, 5] = 1, 1
    if classes["gtvp"] == 1:
        write_mask(folder / "GTV.nii.gz", CT_GRID, first + 2 * second)
    else:
        write_mask(folder / "a_p.nii.gz", CT_GRID, first)
        write_mask(folder / "a_n.nii.gz", CT_GRID, second)
    nifti = ContourSources("P1", None, sources.convert, sources.suv, "", folder)
    run(nifti, tmp_path / "out", classes=classes)
    assert np.array_equal(labels(tmp_path / "out"), first + 2 * second)


def test_dicom_contours_have_no_values(tmp_path):
    sources = drawn(tmp_path, ("GTVp", LESION))
    message = refused(tmp_path, sources, "values of mask files", classes=BY_VALUE)
    assert "patterns of ROI names" in message
