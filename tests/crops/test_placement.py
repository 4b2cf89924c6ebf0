"""Where crops lie: at the lesion, in a box, below the brain, with a margin."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import CropError, SettingsError
from pipeline.settings.geometry import CropSettings
from pipeline.store.crops import read_crop

SMALL = {"shape": (24, 32, 32), "spacing_mm": (2.0, 1.5, 1.5)}


def test_a_margin_surrounds_the_same_crop(crop_of):
    plain, _ = crop_of(CropSettings(centre_mm=(0.0, 0.0, 0.0), **SMALL))
    inner = read_crop(plain)
    out, _ = crop_of(CropSettings(centre_mm=(0.0, 0.0, 0.0), margin=3, **SMALL))
    outer = read_crop(out)
    assert outer.image.shape == (2, 30, 38, 38)
    assert outer.image[:, 3:-3, 3:-3, 3:-3] == pytest.approx(inner.image, abs=1e-3)
    assert outer.attributes.margin == 3
    assert outer.attributes.lesion_coverage == inner.attributes.lesion_coverage


def test_a_crop_at_the_lesion_needs_no_registration(crop_of, lesion_mm, tmp_path):
    settings = CropSettings(position="lesion", **SMALL)
    out, _ = crop_of(settings)
    crop = read_crop(out)
    assert crop.attributes.scanner_points([[11.5, 15.5, 15.5]], crop.inside.shape)[0] == pytest.approx(
        lesion_mm, abs=0.5
    )
    assert crop.attributes.lesion_coverage == 1.0
    volume = crop.mask.sum() * 2.0 * 1.5 * 1.5 / 1000
    assert volume == pytest.approx(crop.attributes.lesion_ml, rel=0.02)
    with pytest.raises(CropError, match="needs a contour"):
        crop_of(settings, contours=False)


def test_boxes(crop_of, tmp_path):
    table = tmp_path / "boxes.csv"
    table.write_text("patient_id,x1,x2,y1,y2,z1,z2\nP,-20,28,-30,18,-20,28\nQ,0,0,1,2,3,4\n")
    settings = CropSettings(position="box", boxes=str(table), **SMALL)
    out, _ = crop_of(settings)
    crop = read_crop(out)
    # middle of the box (4, -6, 4); voxel centres half a voxel within its faces
    assert crop.attributes.origin_mm == pytest.approx((-20 + 0.75, -30 + 0.75, -20 + 1.0))
    with pytest.raises(CropError, match="second corner"):
        crop_of(settings, name="Q")
    with pytest.raises(CropError, match="one row per patient"):
        crop_of(settings, name="R")
    table.write_text("patient_id,x1\nP,1\n")
    with pytest.raises(SettingsError, match="lacks columns"):
        crop_of(settings)


def test_below_the_brain_without_contour(crop_of):
    # A hot ball of 24 mm at z = 30: its lowest smoothed voxel lies near z = 30 - 22; the rule
    # puts the crop's upper edge 30 mm above that and its middle 30 mm before the ball.
    settings = CropSettings(position="brain_anchored", shape=(20, 16, 16), spacing_mm=(2.0, 2.0, 2.0))
    out, _ = crop_of(settings, brain=((0.0, 20.0, 24.0), 20.0), contours=False)
    crop = read_crop(out)
    middle = crop.attributes.scanner_points([[9.5, 7.5, 7.5]], crop.inside.shape)[0]
    top = crop.attributes.scanner_points([[19.5, 7.5, 7.5]], crop.inside.shape)[0][2]
    assert middle[:2] == pytest.approx((0.0, 20.0 - 30.0), abs=2.5)
    assert top == pytest.approx(24.0 - 20.0 + 30.0, abs=4.0)
    with pytest.raises(CropError, match="no brain"):
        crop_of(settings, name="Q", contours=False)


def test_below_the_brain_in_a_pet_of_its_own_frame(crop_of, own_frame):
    # The crop is placed in the PET's coordinates; its CT is read through the inverse.
    settings = CropSettings(position="brain_anchored", shape=(20, 16, 16), spacing_mm=(2.0, 2.0, 2.0))
    out, _ = crop_of(settings, brain=((0.0, 20.0, 24.0), 20.0), contours=False, own=own_frame)
    about = read_crop(out).attributes
    assert np.asarray(about.transform) == pytest.approx(np.linalg.inv(own_frame))
    assert np.asarray(about.pet_transform) == pytest.approx(np.eye(4), abs=1e-9)
