"""Classes of the mask in the report: columns, votes of folds, colours."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.report import slices
from pipeline.report.mask_classes import (
    CLASS_COLOURS,
    class_colour,
    class_columns,
    class_handles,
    unresolved_distances,
    voted_labels,
)
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop


def test_dice_of_each_class_has_a_column():
    names = [
        "c_index",
        "dice",
        "dice_gtvp",
        "dice_gtvn",
        "dice_agg",
        "dice_agg_gtvp",
        "dice_agg_gtvn",
        "dice_agg_mean",
    ]
    columns = class_columns(pd.DataFrame({"metric": names}))
    assert set(columns.values()) == set(names) - {"c_index", "dice", "dice_agg"}
    # The whole mask's Dice stands in the table of every network with masks.
    assert not class_columns(pd.DataFrame({"metric": ["dice", "dice_agg", "hd95_mm"]}))


def test_folds_vote_for_tumour_and_then_for_its_class():
    # By hand, voxel by voxel: nobody; one of three; two of three, both class 2; three, of which two class 1;
    # two of three of different classes: the first.
    votes = [[0, 1, 2, 1, 1], [0, 0, 2, 1, 2], [0, 0, 0, 2, 0]]
    arrays = [np.array(v, dtype=np.uint8).reshape(1, 1, 5) for v in votes]
    assert voted_labels(arrays).ravel().tolist() == [0, 0, 2, 1, 1]
    assert voted_labels(arrays[:1]).ravel().tolist() == votes[0]
    assert not voted_labels([np.zeros((1, 2, 2), np.uint8)]).any()
    # Without classes a half of the folds is enough, as before.
    assert voted_labels([np.ones((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint8)]).all()


def test_every_class_is_outlined_in_its_own_colour():
    from matplotlib.colors import to_hex
    from matplotlib.figure import Figure

    mask = np.zeros((4, 12, 12), np.uint8)
    mask[1, 2:5, 2:5], mask[1, 7:10, 7:10] = 1, 2
    attributes = CropAttributes("a", ("pet",), ("g/mL",), (1.0, 1.0, 1.0), classes=("gtvp", "gtvn"))
    image = np.random.default_rng(0).normal(size=(1, 4, 12, 12)).astype(np.float32)
    crop = Crop(image, mask, np.ones((4, 12, 12), np.uint8), attributes)
    example = slices.example_of(crop, None, "a")
    assert slices.focus(example)[0] == 1
    axis = Figure().subplots()
    slices._panel(axis, example, "pet", slices.SlicePlane(axial=True, index=1))
    drawn = {to_hex(each.get_edgecolor()[0]).upper() for each in axis.collections}
    assert drawn == {class_colour(1), class_colour(2)}
    labels = [handle.get_label() for handle in class_handles(example.classes, True, False)]
    assert len(labels) == 3 and labels[-1] == "contour of the study"
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS)


def test_a_distance_of_one_voxel_is_no_result() -> None:
    printed = pd.DataFrame(
        {"Model": list("abc"), "HD95, mm": ["4.000 (4.00–4.00)", "5.657 (4.00–8.00)", "–"]}
    )
    shown = unresolved_distances(printed, 4.0)
    assert shown["HD95, mm"].tolist() == ["one voxel (4 mm) or less", "5.657 (4.00–8.00)", "–"]
