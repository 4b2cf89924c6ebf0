"""Feature sets: their columns, and what is refused."""

from collections import Counter
from pathlib import Path

import pytest

from pipeline.errors import SettingsError
from pipeline.radiomics.sets import feature_columns, load_feature_set
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings


def named(name: str) -> FeatureSet:
    return load_feature_set(RadiomicsSettings(feature_set=name))


def test_exact_counts() -> None:
    # systems.md: 80 features × 9 images × 2 modalities + 16; 2 × (18 + 112) + 14.
    deepmts, hecktor = feature_columns(named("deepmts")), feature_columns(named("hecktor"))
    assert len(set(deepmts)) == len(deepmts) == 1456
    assert len(set(hecktor)) == len(hecktor) == 274
    classes = Counter(column.split("_")[2] for column in deepmts)
    assert classes == {"shape": 16, "firstorder": 342, "glcm": 432, "glrlm": 288, "glszm": 288, "ngtdm": 90}
    classes = Counter(column.split("_")[2] for column in hecktor)
    assert classes == {"shape": 14, "firstorder": 36, "glcm": 96, "glrlm": 64, "glszm": 64}


def test_a_set_without_a_discretisation_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("title: mine\ndiscretisations: {pet: [{bin_width: 1}]}\n")
    with pytest.raises(SettingsError, match="discretisations lack 'ct'"):
        load_feature_set(RadiomicsSettings(feature_set=str(path)))


def test_a_missing_set_names_those_there_are() -> None:
    with pytest.raises(SettingsError, match="deepmts, demo, hecktor, ibsi, ibsi_A"):
        named("depmts")
