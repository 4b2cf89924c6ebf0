"""Generated chest slices: their truth is where it is said to be, and the committed table is theirs."""

from __future__ import annotations

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from pipeline.errors import SettingsError, TableError
from pipeline.phantoms.chest_slices import DENSITY, chest_slice, diagnosis_of, place_of, slice_id
from pipeline.phantoms.chest_table import main
from pipeline.settings.chest_phantom import LESIONS, ChestSliceSettings
from pipeline.settings.root import load_settings

ROOT = Path(__file__).parents[2]
STUDY = ROOT / "config/studies/papers/chest_ct_small.yaml"
SETTINGS = ChestSliceSettings()


def test_lesions_have_the_density_of_their_kind_and_only_covid_has_masks() -> None:
    seen = set()
    for volume in range(1, 31):
        made = chest_slice(volume, 1, SETTINGS)
        assert made.image.shape == (64, 64) and made.diagnosis == diagnosis_of(volume)
        if made.diagnosis != 1:
            assert made.mask is None
            continue
        assert made.mask is not None and made.mask.any()
        for label in np.unique(made.mask[made.mask > 0]):
            inside = made.image[made.mask == label]
            # The mean of n pixels of noise of SD 0.06 is within five of its standard errors.
            assert abs(inside.mean() - DENSITY[LESIONS[label - 1]]) < 5 * SETTINGS.noise / np.sqrt(
                inside.size
            )
            seen.add(int(label))
    assert seen == {1, 2, 3}


def test_slices_of_a_volume_are_alike_and_those_of_two_are_not() -> None:
    clean = ChestSliceSettings(noise=0)
    first, second = (chest_slice(4, number, clean).image for number in (1, 2))
    other = chest_slice(7, 1, clean).image
    within, between = (np.abs(first - image).mean() for image in (second, other))
    assert 0 < within < between / 2
    assert np.array_equal(chest_slice(4, 1, SETTINGS).image, chest_slice(4, 1, SETTINGS).image)


def test_the_committed_table_is_that_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(STUDY)]) == 0
    table = yaml.safe_load(STUDY.read_text())["cohort"]["table"]
    assert (tmp_path / table).read_bytes() == (ROOT / table).read_bytes()


def test_no_volume_is_on_both_sides_and_every_step_has_every_set() -> None:
    table = ROOT / "config/cohorts/chest_slices.csv"
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    sides, numbers = defaultdict(set), defaultdict(int)
    for row in rows:
        sides[row["group"]].add((row["set"], row["split"]))
        for subset in row["subsets"].split():
            numbers[subset, row["split"]] += 1
        assert int(row["label_diagnosis"]) == diagnosis_of(place_of(row["patient_id"])[0])
    assert all(len(side) == 1 for side in sides.values())
    of = {
        name: [numbers[name, split] for split in ("train", "validation", "test")]
        for name in ("cr", "sr", "dr")
    }
    assert of == {"cr": [207, 36, 27], "sr": [69, 12, 9], "dr": [33, 6, 6]}


def test_what_is_not_of_the_generator_is_refused() -> None:
    assert place_of(slice_id(12, 3)) == (12, 3)
    with pytest.raises(TableError, match="not that of a generated chest slice.*'D0001'"):
        place_of("D0001")
    with pytest.raises(TableError, match="no such slice.*slices 1 to 3"):
        chest_slice(1, 4, SETTINGS)
    config = yaml.safe_load(STUDY.read_text())
    names = config["contours"]["classes"]
    with pytest.raises(SettingsError, match="contours.classes of generated chest slices"):
        load_settings(
            {**config, "contours": {"classes": dict(zip(names, (2, 3, 1), strict=True))}, "paper": None}
        )
    with pytest.raises(SettingsError, match="both generate"):
        load_settings({**config, "disks": {}, "paper": None})
