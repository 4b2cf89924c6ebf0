"""The lesion: which contour is taken, where it lies, how much of it a crop holds."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.settings.geometry import CropSettings
from pipeline.store.crops import read_crop, read_status
from pipeline.volumes.nifti import read_nifti

SMALL = {"shape": (24, 32, 32), "spacing_mm": (2.0, 1.5, 1.5)}


def test_no_contour_gives_no_mask(crop_of):
    out, _ = crop_of(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL), drawn_on=())
    crop = read_crop(out)
    assert crop.mask is None
    assert (crop.attributes.contour, crop.attributes.lesion_coverage) == ("none", None)


def test_the_other_contour_is_used_with_a_warning(crop_of):
    settings = CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL)
    out, _ = crop_of(settings, drawn_on=("pet",), contour="drawn")
    crop = read_crop(out)
    assert (crop.attributes.mask_from, crop.attributes.contour) == ("pet", "drawn")
    assert read_status(out).state == "warned"
    assert "drawn on the PET" in read_status(out).problem
    both, _ = crop_of(settings, name="Q", drawn_on=("ct", "pet"), mask_from="pet")
    assert read_crop(both).attributes.mask_from == "pet"
    assert read_status(both).state == "ok"


def test_coverage_follows_the_registration(crop_of, lesion_mm):
    # Template points lie 30 mm further in x in the patient: a crop at the lesion's place minus
    # 30 mm holds all of it, one at its scanner coordinates nothing (half its width 18 mm).
    moved = np.eye(4)
    moved[0, 3] = 30.0
    for shift, expected in ((-30.0, 1.0), (0.0, 0.0)):
        centre = tuple((lesion_mm + np.array([shift, 0.0, 0.0]))[::-1])
        settings = CropSettings(centre_mm=centre, shape=(24, 24, 24), spacing_mm=(1.5, 1.5, 1.5))
        out, _ = crop_of(settings, matrix=moved)
        crop = read_crop(out)
        assert crop.attributes.lesion_coverage == expected
        assert bool(crop.mask.any()) == (expected == 1.0)


@pytest.mark.parametrize("position", ["fixed", "lesion"])
def test_a_contour_of_such_a_pet_lies_where_the_lesion_is(crop_of, lesion_mm, own_frame, position):
    # The lesion's place in the scanner's (CT's) coordinates is known; it was drawn on the PET.
    settings = CropSettings(position=position, centre_mm=(3.0, -8.0, 6.0), **SMALL)
    out, sources = crop_of(settings, own=own_frame, drawn_on=("pet",), mask_from="pet")
    crop = read_crop(out)
    drawn = read_nifti(sources.contours / "gtv_pet.nii.gz")
    in_pet = np.append(drawn.grid.points(np.argwhere(drawn.array)).mean(axis=0), 1.0)
    assert (np.linalg.inv(own_frame) @ in_pet)[:3] == pytest.approx(lesion_mm, abs=1.0)
    centroid = crop.attributes.scanner_points(np.argwhere(crop.mask).mean(axis=0)[None], crop.mask.shape)[0]
    assert centroid == pytest.approx((np.linalg.inv(own_frame) @ in_pet)[:3], abs=0.2)
    assert crop.attributes.lesion_coverage == 1.0


def test_classes_are_stored_and_each_must_lie_inside(crop_of, lesion_mm):
    # 24 × 36 × 36 mm around the primary: a node 12 mm off lies inside, one 20 mm off does not.
    centre = tuple(lesion_mm[::-1])
    settings = CropSettings(centre_mm=centre, shape=(24, 24, 24), spacing_mm=(1.5, 1.5, 1.5))
    near, _ = crop_of(settings, node=np.add(lesion_mm, (12.0, 0.0, 0.0)))
    crop = read_crop(near)
    assert crop.attributes.classes == ("gtvp", "gtvn") and set(np.unique(crop.mask)) == {0, 1, 2}
    centroid = crop.attributes.scanner_points(np.argwhere(crop.mask == 2).mean(axis=0)[None], crop.mask.shape)
    assert centroid[0] == pytest.approx(np.add(lesion_mm, (12.0, 0.0, 0.0)), abs=0.8)
    assert crop.attributes.lesion_ml == pytest.approx(4 / 3 * np.pi * (0.9**3 + 0.5**3), rel=0.1)
    far, _ = crop_of(settings, name="Q", node=np.add(lesion_mm, (20.0, 0.0, 0.0)))
    status = read_status(far)
    assert status.state == "warned" and "of gtvn" in status.problem
    assert 0.8 < read_crop(far).attributes.lesion_coverage < 0.95


def test_a_small_class_that_is_cut_off_is_told_though_the_lesion_is_covered(crop_of, lesion_mm):
    settings = CropSettings(
        centre_mm=tuple(lesion_mm[::-1]), shape=(24, 24, 24), spacing_mm=(1.5, 1.5, 1.5), min_coverage=0.8
    )
    out, _ = crop_of(settings, node=np.add(lesion_mm, (22.0, 0.0, 0.0)))
    assert read_crop(out).attributes.lesion_coverage > 0.8
    assert "of gtvn" in read_status(out).problem
