"""What contours are drawn on, and what every way of reading them gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.dicom.series.index_file import Index, files_of, find_chosen
from pipeline.errors import ContourError
from pipeline.volumes.nifti import read_grid
from pipeline.volumes.volume import FloatArray, Grid

Kind = Literal["ct", "pet"]
Mask = npt.NDArray[np.bool_]
VOLUMES: dict[Kind, str] = {"ct": "ct_hu.nii.gz", "pet": "pet_stored.nii.gz"}
SAME_MM = 0.05
"""Two grids are the same where no corner lies further apart than this."""
ON_SLICE = 0.1
"""A contour lies on a slice where it is no further from it than this share of the distance of slices."""


@dataclass(frozen=True)
class Image:
    """An image that contours may have been drawn on.

    Attributes:
        grid: Its converted volume's grid.
        series_uid: (0020,000E), empty for NIfTI.
        frame_uid: (0020,0052), empty for NIfTI.
        files: Its DICOM files.
    """

    grid: Grid
    series_uid: str = ""
    frame_uid: str = ""
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class RoiMask:
    """One ROI as a mask on one image's grid.

    Attributes:
        name: ROI name, segment label or file name.
        kind: The image whose grid the mask has.
        mask: Boolean (z, y, x).
        source: `rtstruct`, `seg`, `mask_file`, or the rule the software drew by.
        origin: The file it came from, as messages call it.
        matched_by: Why it belongs to this image.
        facts: Further values for `contours.json`.
        notes: What the user should know.
        moment: Date and time of the file's content as written; empty if it has none.
    """

    name: str
    kind: Kind
    mask: Mask
    source: str
    origin: str = ""
    matched_by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    moment: str = ""


class NoContourError(ContourError):
    """There is nothing to use; where contours are not required this is no failure."""


def images_of(convert: Path, index: Index | None) -> dict[Kind, Image]:
    """The patient's converted images, with the series they came from.

    Raises:
        ContourError: Neither a CT nor a PET was converted.
    """
    images: dict[Kind, Image] = {}
    for kind, name in VOLUMES.items():
        path = convert / name
        if not path.is_file():
            continue
        row = find_chosen(index, kind) if index is not None else None
        if index is None or row is None:
            images[kind] = Image(read_grid(path))
        else:
            images[kind] = Image(
                read_grid(path), row.series_uid, row.frame_of_reference_uid, files_of(index, row)
            )
    if not images:
        raise ContourError("there is no converted image to draw on", where=str(convert))
    return images


def by_reference(
    images: Mapping[Kind, Image], series_uids: frozenset[str], sops: frozenset[str]
) -> Kind | None:
    """The image that a contour object refers to: by series, by instances where it names both."""
    named = [kind for kind, image in images.items() if image.series_uid and image.series_uid in series_uids]
    if len(named) == 1:
        return named[0]
    if len(named) > 1 and sops:
        counts = {kind: len(sops & _sops(images[kind])) for kind in named}
        best = max(counts, key=lambda kind: counts[kind])
        if counts[best] and sum(counts.values()) == counts[best]:
            return best
    return None


def _sops(image: Image) -> frozenset[str]:
    """(0008,0018) of an image's files; read only where the series do not decide."""
    from pydicom import dcmread

    return frozenset(
        str(dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
        for path in image.files
    )


def in_frame(images: Mapping[Kind, Image], frames: frozenset[str]) -> list[Kind]:
    """Images in one of the frames of reference."""
    return [kind for kind, image in images.items() if image.frame_uid and image.frame_uid in frames]


def on_slices(grid: Grid, points: Sequence[FloatArray]) -> float:
    """Share of contours (n, 3; LPS mm) whose plane lies on one of the grid's slices."""
    hits = 0
    for contour in points:
        height = grid.indices(contour)[:, 0]
        near = np.abs(height - np.round(height[0])).max() <= ON_SLICE
        hits += bool(near and -0.5 <= height[0] <= grid.shape[0] - 0.5)
    return hits / max(1, len(points))


def merge_rois(
    regions: Sequence[RoiMask], tell: Callable[[str], None], rule: Literal["refuse", "newest"] = "refuse"
) -> dict[Kind, list[RoiMask]]:
    """Regions by image; the same ROI from several files is taken once.

    Raises:
        ContourError: Two files draw an ROI of one name differently on one image, and the rule
            is to refuse, or their dates do not tell which is newer.
    """
    named: dict[tuple[Kind, str], dict[str, list[RoiMask]]] = {}
    for region in regions:
        files = named.setdefault((region.kind, region.name.lower()), {})
        files.setdefault(region.origin, []).append(region)
    found: dict[Kind, list[RoiMask]] = {}
    for (kind, _), files in named.items():
        found.setdefault(kind, []).extend(_one_file(list(files.values()), tell, rule))
    return found


def _one_file(files: list[list[RoiMask]], tell: Callable[[str], None], rule: str) -> list[RoiMask]:
    """Of the files that draw an ROI of one name: the first if all agree, else the newest or none."""
    first = files[0]
    name = first[0].name
    if len(first) > 1 and first[0].source == "rtstruct":
        tell(f"{len(first)} ROIs of one file are named {name!r}; they are united")
    apart = [(file, dice(union(first), union(file))) for file in files[1:]]
    differing = [(file, overlap) for file, overlap in apart if overlap < 0.999]
    if not differing:
        if apart:
            tell(f"ROI {name!r} is given by several files that agree; the first is used")
        return first
    latest = max(files, key=lambda file: file[0].moment)
    moments = [file[0].moment for file in files]
    if rule == "newest" and all(moments) and moments.count(latest[0].moment) == 1:
        tell(
            f"ROI {name!r} is drawn differently by {len(files)} files; the newest, {latest[0].origin}, is used"
        )
        return latest
    other, overlap = differing[0]
    raise ContourError(
        f"two files draw the ROI {name!r} differently",
        where=f"{first[0].origin} and {other[0].origin}",
        expected="one contour per ROI name and image",
        got=f"Dice {overlap:.3f}" + ("; their dates do not tell which is newer" if rule == "newest" else ""),
        action="remove one of the files, name another ROI in the cohort table's roi, or set "
        "contours.same_roi: newest",
    )


def union(regions: Sequence[RoiMask]) -> Mask:
    """The voxels of any of the regions."""
    mask: Mask = np.logical_or.reduce([region.mask for region in regions])
    return mask


def dice(first: Mask, second: Mask) -> float:
    """Overlap 2|A∩B| / (|A| + |B|); 1 where both are empty."""
    size = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / size if size else 1.0
