"""What contours are drawn on, and what every way of reading them gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from pipeline.dicom.series import Index, files_of, find_chosen
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
class Region:
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
    """

    name: str
    kind: Kind
    mask: Mask
    source: str
    origin: str = ""
    matched_by: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


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


def unite(regions: Sequence[Region], tell: Callable[[str], None]) -> dict[Kind, list[Region]]:
    """Regions by image; the same ROI from several files is taken once if they agree.

    Raises:
        ContourError: Two files draw an ROI of one name differently on one image.
    """
    chosen: dict[tuple[Kind, str], list[Region]] = {}
    for region in regions:
        kept = chosen.setdefault((region.kind, region.name.lower()), [])
        if not kept or region.origin == kept[0].origin:
            kept.append(region)
            continue
        overlap = dice(union(kept), region.mask)
        if overlap < 0.999:
            raise ContourError(
                f"two files draw the ROI {region.name!r} differently",
                where=f"{kept[0].origin} and {region.origin}",
                expected="one contour per ROI name and image",
                got=f"Dice {overlap:.3f}",
                action="remove one of the files, or name another ROI in the cohort table's roi",
            )
        tell(f"ROI {region.name!r} is given by several files that agree; the first is used")
    found: dict[Kind, list[Region]] = {}
    for (kind, _), group in chosen.items():
        found.setdefault(kind, []).extend(group)
    return found


def union(regions: Sequence[Region]) -> Mask:
    """The voxels of any of the regions."""
    mask: Mask = np.logical_or.reduce([region.mask for region in regions])
    return mask


def dice(first: Mask, second: Mask) -> float:
    """Overlap 2|A∩B| / (|A| + |B|); 1 where both are empty."""
    size = int(first.sum()) + int(second.sum())
    return 2.0 * int((first & second).sum()) / size if size else 1.0
