"""A new patient of a study whose crops lie in boxes brings a box, asks for another rule, or is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.__main__ import parser
from pipeline.deploy.bundle_files import Bundle
from pipeline.deploy.command import model_card
from pipeline.deploy.crop_box import BELOW_BRAIN, OTHER_RULE, box_flags, crop_settings, require_box
from pipeline.deploy.manifest import BundleError, Manifest
from pipeline.deploy.preprocess import NewPatient, preprocess_patient
from pipeline.settings.geometry import CropSettings, RegistrationSettings
from pipeline.store.crops import read_attributes, read_crop
from tests.deploy.synthetic_bundle import IDENTITY, make_manifest, make_stage_settings
from tests.releases.made_up_releases import draw, volumes

SHAPE, SPACING = (16, 24, 32), (2.0, 2.0, 2.0)
BOX = "-20,44,-30,18,-56,-24"


def manifest_of(position: str = "box") -> Manifest:
    crop = CropSettings(position=position, shape=SHAPE, spacing_mm=SPACING)
    stages = make_stage_settings(crop).model_copy(
        update={"registration": RegistrationSettings(method="none")}
    )
    nifti = stages.nifti.model_copy(
        update={"nifti_ct": "*__ct.nii*", "nifti_pet": "*__pt.nii*", "nifti_pet_quantity": "suvbw"}
    )
    return make_manifest(stages=stages.model_copy(update={"nifti": nifti}), source="nifti")


@pytest.mark.parametrize(
    ("position", "box", "message"),
    [
        ("box", "", "none is given for this patient.*--box brain_anchored|brain_anchored to have"),
        ("box", "1,2,3", "a box cannot be read"),
        ("box", "1,2,3,4,5,here", "a box cannot be read"),
        ("box", "1,2,3,4,5,nan", "a box cannot be read"),
        ("box", "0,10,10,0,0,10", "a box cannot be read.*second of each above the first"),
        ("lesion", BOX, "takes no box.*crop.position: lesion"),
    ],
)
def test_what_is_refused(position: str, box: str, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        require_box(manifest_of(position), box)


def test_the_command_takes_a_box_that_begins_with_a_minus() -> None:
    given = parser().parse_args(["predict", "--bundle", "b", "--images", "i", "--out", "o", f"--box={BOX}"])
    assert given.box == BOX
    assert "box: needed, --box" in model_card(Bundle(Path(), manifest_of(), IDENTITY))
    assert "box: not needed" in model_card(Bundle(Path(), manifest_of("lesion"), IDENTITY))


def test_a_crop_lies_in_the_middle_of_the_box(tmp_path: Path) -> None:
    """By hand: the box's centre is (12, -6, -40), and the crop's outer voxels 31, 23 and 15 mm from it."""
    import SimpleITK as sitk

    folder = tmp_path / "images"
    folder.mkdir()
    ct, pet, _ = volumes(draw(1, 0))
    sitk.WriteImage(ct, str(folder / "new__CT.nii.gz"))
    sitk.WriteImage(pet, str(folder / "new__PT.nii.gz"))
    bundle = Bundle(tmp_path, manifest_of(), IDENTITY)
    made = preprocess_patient(bundle, NewPatient("new", folder, "", {}, BOX), tmp_path / "work")
    attributes, crop = read_attributes(made.crop), read_crop(made.crop)
    assert crop.image.shape == (2, *SHAPE) and crop.inside.all()
    assert attributes.scanner_points(np.zeros((1, 3)), SHAPE)[0] == pytest.approx([-19, -29, -55])
    below = preprocess_patient(bundle, NewPatient("new", folder, "", {}, BELOW_BRAIN), tmp_path / "other")
    # The brain's lowest voxel lies at 70 - 42 = 28 mm, and the crop's upper edge 30 mm above it (here within
    # the 4 mm voxels and the smoothing of that rule).
    top = read_attributes(below.crop).scanner_points(np.array([[SHAPE[0] - 1, 0, 0]]), SHAPE)[0][2] + 1
    assert top == pytest.approx(58, abs=10)
    assert box_flags(BELOW_BRAIN) == [OTHER_RULE] and not box_flags(BOX)


def test_other_studies_crops_stay_where_they_are(tmp_path: Path) -> None:
    manifest = manifest_of("lesion")
    assert crop_settings(manifest, "new", "", tmp_path) == manifest.stages.crop
    assert not list(tmp_path.iterdir())
