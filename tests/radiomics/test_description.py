"""Sentences on features say what the set and the settings say."""

from __future__ import annotations

import pytest

from pipeline.radiomics.description import describe_features
from pipeline.radiomics.sets import load_feature_set
from pipeline.settings.radiomics import RadiomicsSettings


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("demo", ["by PyRadiomics.", "taken from the native volumes;", "PET 6.5 mm", "under 8 voxels"]),
        (
            "ibsi_C",
            ["Standardisation Initiative", "fixed bin size of 25 HU from -1000 HU", "-1000 to 400 HU"],
        ),
        ("ibsi_D", ["fixed bin number, 32 bins", "Voxels beyond 3 standard deviations", "2 mm (linear)"]),
    ],
)
def test_sets_are_described_by_their_values(name: str, words: list[str]) -> None:
    """IBSI's configurations C and D: Zwanenburg et al. 2020, table of configurations."""
    settings = RadiomicsSettings(feature_set=name, images="native", pet_fwhm_mm={"PET": 6.5})
    text = describe_features(load_feature_set(settings), settings)
    for word in words:
        assert word in text, text
