"""Sets with `standard` against the reference tables of IBSI-1: the CT phantom's five configurations.

Reference values and tolerances: Zwanenburg et al., Radiology 2020;295(2):328-338, and reference
manual (arXiv 1612.07003), as the initiative publishes them.
"""

import csv
import math
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.sets import load_feature_set
from pipeline.settings.radiomics import Discretisation, FeatureSet, RadiomicsSettings, StandardProcessing

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[2] / "../shared/data")) / "ibsi"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no IBSI phantoms at {DATA}")
# What the tables say of the images themselves, not of features.
DIAGNOSTIC = ("img_", "vox_", "mean_int", "min_int", "max_int", "int_mask", "morph_mask")


def reference(name: str) -> dict[str, tuple[float, float]]:
    """Value and tolerance by tag; where the tolerance is 0, half a unit of the last of three digits."""
    with (DATA / f"{name}.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream, delimiter=";") if row["reference value"]]
    table = {}
    for row in rows:
        value = float(row["reference value"])
        digit = 0.5 * 10.0 ** (math.floor(math.log10(abs(value))) - 2) * (1 + 1e-9) if value else 0.0
        table[row["tag"]] = (value, max(float(row["tolerance"]), digit))
    return {tag: values for tag, values in table.items() if not tag.startswith(DIAGNOSTIC)}


def phantom(name: str) -> FeatureImage:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(DATA / name / "image/phantom.nii.gz"))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(DATA / name / "mask/mask.nii.gz"))) > 0
    x, y, z = image.GetSpacing()
    return FeatureImage(sitk.GetArrayFromImage(image).astype(np.float32), mask, np.ones_like(mask), (z, y, x))


def missed(image: FeatureImage, feature_set: FeatureSet, table: dict[str, tuple[float, float]]) -> list[str]:
    """Features of a table that are absent or beyond its tolerance."""
    extraction = extract_features({"ct": image}, feature_set)
    assert extraction.problems == []
    ours = {name.removeprefix("ct_original_"): value for name, value in extraction.values.items()}
    assert set(ours) <= set(table)
    return [
        tag
        for tag, (value, tolerance) in table.items()
        if tag not in ours or not abs(ours[tag] - value) <= tolerance
    ]


@pytest.mark.parametrize(
    ("configuration", "features"), [("A", 346), ("B", 346), ("C", 210), ("D", 210), ("E", 210)]
)
def test_every_feature_of_the_ct_phantom_is_within_tolerance(configuration: str, features: int) -> None:
    table = reference(f"ibsi_1_ct_config_{configuration.lower()}")
    feature_set = load_feature_set(RadiomicsSettings(feature_set=f"ibsi_{configuration}"))
    assert len(table) == features
    assert missed(phantom("ct_phantom"), feature_set, table) == []


@pytest.mark.parametrize("change", ["bound", "outliers", "width", "range"])
def test_another_processing_is_not_within_tolerance(change: str) -> None:
    """The comparison sees what it is meant to see: configuration C, changed in one point."""
    feature_set = load_feature_set(RadiomicsSettings(feature_set="ibsi_C"))
    assert feature_set.standard is not None
    rules = {
        "bound": Discretisation(bin_width=25, lower_bound="lesion"),
        "width": Discretisation(bin_width=30),
    }
    processing = {"outliers": {"outlier_sd": 3}, "range": {"ranges": {"ct": (-500, 400)}}}
    changed = feature_set.model_copy(
        update={
            "discretisations": {"ct": (rules.get(change, Discretisation(bin_width=25)),)},
            "standard": feature_set.standard.model_copy(update=processing.get(change, {})),
        }
    )
    wrong = missed(phantom("ct_phantom"), changed, reference("ibsi_1_ct_config_c"))
    assert len(wrong) > (20 if change == "bound" else 50)


@pytest.mark.parametrize("merging", [("3D_avg", "3D_comb"), ("2D_avg", "2D_comb", "2_5D_avg", "2_5D_comb")])
def test_every_feature_of_the_digital_phantom_is_within_tolerance(merging: tuple) -> None:
    table = reference("ibsi_1_dig_phantom")
    of_space = [tag for tag in table if "3D" in tag]
    of_slices = [tag for tag in table if "2D" in tag or "2_5D" in tag]
    other = of_slices if merging[0] == "3D_avg" else of_space
    feature_set = FeatureSet(
        title="digital phantom",
        modalities=("ct",),
        standard=StandardProcessing(merging=merging),
        # Its intensities 1 ... 6 are levels.
        discretisations={"ct": (Discretisation(bin_width=1, lower_bound=1),)},
    )
    assert (
        missed(phantom("digital_phantom"), feature_set, {t: v for t, v in table.items() if t not in other})
        == []
    )
