"""Features of the set `ibsi` on patients: those of MIRP 2.7.0, with IBSI's fixed bin size.

The digital phantom cannot show where grey levels begin (its lesion's minimum is level 1 anyway).
Before they began at a fixed bound, `HighGrayLevelZoneEmphasis` and its like were 0.03 to 0.92 times
the values here.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.sets import load_feature_set
from pipeline.settings.radiomics import Modality, RadiomicsSettings
from tests.radiomics.test_features import STS, unpacked
from tests.radiomics.test_ibsi import DIFFERENT, TAGS

TABLE = Path(__file__).resolve().parents[1] / "reference" / "mirp_sts.csv"
MODALITIES: tuple[Modality, Modality] = ("pet", "ct")


@pytest.mark.skipif(not STS.is_dir(), reason=f"no sarcoma patients at {STS}")
@pytest.mark.parametrize("patient", ["STS_002", "STS_015"])
def test_features_of_patients_are_those_of_mirp(patient: str, tmp_path: Path) -> None:
    with TABLE.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["patient"] == patient]
    whole = load_feature_set(RadiomicsSettings(feature_set="ibsi"))
    images = unpacked(patient, tmp_path)
    for modality in MODALITIES:
        expected = {row["feature"]: float(row["value"]) for row in rows if row["modality"] == modality}
        values, mask, spacing = images[modality]
        image = FeatureImage(values, mask, np.ones_like(mask), spacing)
        feature_set = whole.model_copy(update={"modalities": (modality,)})
        ours = extract_features({modality: image}, feature_set).values
        for name, tag in TAGS.items():
            if name not in DIFFERENT:
                value = ours[f"{modality}_original_{name}"]
                assert value == pytest.approx(expected[tag], rel=1e-3), (modality, name)
