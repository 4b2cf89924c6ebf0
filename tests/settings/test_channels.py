"""Which images a study asks for: every stage is told before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.errors import SettingsError
from pipeline.settings.root import load_settings
from tests.settings.minimal import study

PET_ONLY: dict[str, Any] = {
    "index": {"modalities": ["pet"]},
    "registration": {"method": "none"},
    "crop": {"channels": ["pet"], "position": "lesion"},
    "radiomics": {"modalities": ["pet"]},
}
CT_ONLY: dict[str, Any] = {
    "index": {"modalities": ["ct"]},
    "crop": {"channels": ["ct"]},
    "radiomics": {"modalities": ["ct"]},
}


@pytest.mark.parametrize("one_image", [PET_ONLY, CT_ONLY])
def test_studies_of_one_image_are_valid(one_image: dict[str, Any]) -> None:
    settings = load_settings(study(**one_image))
    assert settings.crop.channels == settings.radiomics.modalities


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"index": {"modalities": ["ct"]}}, "crop.channels has 'pet', and index.modalities ask for ct"),
        ({"registration": {}}, "registration.moving is 'ct'"),
        ({"radiomics": {}}, r"goes with radiomics.modalities: \[pet\]"),
        (
            {"cohort": {"source": "nifti", "nifti_pet": ""}},
            "crop.channels has 'pet', and cohort.nifti_pet and cohort.nifti_ct ask for ct",
        ),
        ({"cohort": {"source": "slices"}}, "crop.channels is for dicom and nifti images"),
    ],
)
def test_what_a_pet_only_study_cannot_have(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_settings(study(**{**PET_ONLY, **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"contours": {"auto_segment": "threshold_40"}},
        {"contours": {"reference_roi": ["Liver*"]}},
        {"radiomics": {"modalities": ["ct"], "contours": ["threshold"]}},
        {"radiomics": {"modalities": ["ct"], "pet_fwhm_mm": {"*": 5.0}}},
    ],
)
def test_a_ct_only_study_measures_no_pet(changes: dict[str, Any]) -> None:
    with pytest.raises(
        SettingsError, match=r"is measured on the PET, which crop.channels: \[ct\] leaves out"
    ):
        load_settings(study(**{**CT_ONLY, **changes}))
