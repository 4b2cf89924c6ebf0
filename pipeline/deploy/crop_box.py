"""Where the crop of a new patient lies in a study whose crops lie in given boxes."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from pipeline.crops.placement import BOX_COLUMNS
from pipeline.deploy.flags import Flag
from pipeline.deploy.manifest import BundleError, Manifest
from pipeline.settings.geometry import CropSettings

BELOW_BRAIN = "brain_anchored"
"""As a box: the crop hangs below the brain, as `crop.position: brain_anchored` places it."""
EXPECTED = f"six numbers X1,X2,Y1,Y2,Z1,Z2 (LPS mm), or {BELOW_BRAIN}"
OTHER_RULE = Flag(
    "warning",
    "crop",
    "the crop was placed below the brain, as was asked for; the study's crops lie in boxes that were given",
)


def require_box(manifest: Manifest, box: str) -> None:
    """Refuse a missing, a superfluous and an impossible box, before anything is read.

    Args:
        manifest: The bundle's manifest.
        box: What was given; empty: nothing.

    Raises:
        BundleError: With what is expected.
    """
    if not manifest.needs_box():
        if box:
            raise BundleError(
                "this bundle takes no box",
                where="--box",
                expected=f"none: its crops lie by crop.position: {manifest.stages.crop.position}",
                action="leave it out",
            )
        return
    if not box:
        raise BundleError(
            "the study's crops lie in given boxes, and none is given for this patient",
            where="--box",
            expected=EXPECTED,
            action=f"give the box, or {BELOW_BRAIN} to have the crop placed below the brain, which is flagged",
        )
    if box != BELOW_BRAIN:
        _corners(box)


def _corners(box: str) -> list[float]:
    """x1, x2, y1, y2, z1, z2 (LPS mm)."""
    try:
        corners = [float(text) for text in box.split(",")]
    except ValueError:
        corners = []
    lower, upper = corners[::2], corners[1::2]
    finite = all(math.isfinite(value) for value in corners)
    if len(corners) != 6 or not finite or not all(a < b for a, b in zip(lower, upper, strict=True)):
        raise BundleError(
            "a box cannot be read", where="--box", expected=f"{EXPECTED}, the second of each above the first",
            got=repr(box[:80]),
        )  # fmt: skip
    return corners


def crop_settings(manifest: Manifest, patient_id: str, box: str, work: Path) -> CropSettings:
    """The study's settings of the crop with this patient's box, as a table of one row in the work folder.

    Args:
        manifest: The bundle's manifest.
        patient_id: Names the row.
        box: What was given, accepted by :func:`require_box`.
        work: Folder for what the stages write.
    """
    crop = manifest.stages.crop
    if not manifest.needs_box():
        return crop
    if box == BELOW_BRAIN:
        return crop.model_copy(update={"position": BELOW_BRAIN})
    table = work / "boxes.csv"
    work.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([BOX_COLUMNS, [patient_id, *_corners(box)]])
    return crop.model_copy(update={"boxes": str(table)})


def box_flags(box: str) -> list[Flag]:
    """A warning where the crop was placed by another rule than the study's."""
    return [OTHER_RULE] if box == BELOW_BRAIN else []
