"""ROIs of RT Structure Sets as masks, each on the grid of the image it was drawn on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.dicom.contours.rasterise import Rasterised, rasterise
from pipeline.dicom.contours.roi import Image, Kind, RoiMask, by_reference, in_frame, on_slices
from pipeline.dicom.header.rtstruct import Roi, StructureSet, read_rtstruct
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings


def structure_regions(
    file: tuple[Path, str],
    patterns: Sequence[str],
    images: Mapping[Kind, Image],
    settings: ContourSettings,
) -> tuple[list[RoiMask], list[str], list[str]]:
    """Masks of an RTSTRUCT's ROIs whose names fit.

    Args:
        file: The RTSTRUCT, and what messages call it.
        patterns: Patterns of ROI names.
        images: The images it may have been drawn on.
        settings: Lines per voxel and what may lie outside.

    Returns:
        Regions; names of all ROIs in the file; why ROIs that fit were not used.

    Raises:
        ContourError: A contour is damaged, does not lie on the image it belongs to, or
            more than the allowed share of it lies outside.
    """
    structures = read_rtstruct(file[0], patterns, file[1])
    regions: list[RoiMask] = []
    unused: list[str] = []
    for roi in structures.rois:
        if not roi.contours:
            unused.append(f"ROI {roi.name!r} has no closed contour{_kinds(roi)}")
            continue
        kind, matched_by = _image_of(roi, structures, images)
        if kind is None:
            unused.append(f"ROI {roi.name!r} {matched_by}")
            continue
        regions.append(_region(roi, structures, (kind, matched_by), images[kind], settings))
    return regions, list(structures.names), unused


def _kinds(roi: Roi) -> str:
    if not roi.skipped:
        return ""
    return " (" + ", ".join(f"{count} {kind}" for kind, count in roi.skipped.items()) + ")"


def _image_of(roi: Roi, structures: StructureSet, images: Mapping[Kind, Image]) -> tuple[Kind | None, str]:
    """The image an ROI was drawn on, and how that is known.

    By the series the RTSTRUCT refers to; where it names both images, by the instances its
    contours refer to; else by the frame of reference, (0020,0052), and the slices that the
    contours lie on. In a shared frame a contour is right on either image; it goes to the one
    whose slices carry it, to the CT where both do.
    """
    kind = by_reference(images, structures.series_uids, roi.sops)
    if kind is not None:
        return kind, "referenced series"
    frames = frozenset({roi.frame_uid}) if roi.frame_uid else structures.frame_uids
    candidates = in_frame(images, frames)
    if not candidates:
        return None, "refers neither to the CT or PET nor to their frame of reference"
    shares = {k: round(on_slices(images[k].grid, roi.contours), 2) for k in candidates}
    best = max(candidates, key=lambda k: (shares[k], k == "ct"))
    return best, "frame of reference and slice positions"


def _region(
    roi: Roi,
    structures: StructureSet,
    belongs: tuple[Kind, str],
    image: Image,
    settings: ContourSettings,
) -> RoiMask:
    kind, matched_by = belongs
    try:
        drawn = rasterise(roi.contours, image.grid, settings.supersampling)
    except ContourError as error:
        error.where = f"{structures.label}, ROI {roi.name!r} on the {kind.upper()}"
        raise
    _check_inside(drawn, roi, kind, settings)
    planes = drawn.planes
    return RoiMask(
        name=roi.name,
        kind=kind,
        mask=drawn.mask,
        source="rtstruct",
        origin=structures.label,
        matched_by=matched_by,
        facts={
            "contours": len(roi.contours),
            "planes": len(planes.positions),
            "plane_distance_slices": round(planes.step, 4),
            "volume_polygons_ml": round(drawn.polygon_ml, 4),
            "outside_percent": round(100 * drawn.outside_share, 3),
        },
        notes=tuple(_notes(roi, structures, belongs, image, drawn)),
        moment=structures.moment,
    )


def _check_inside(drawn: Rasterised, roi: Roi, kind: Kind, settings: ContourSettings) -> None:
    percent = 100 * drawn.outside_share
    if percent <= settings.max_outside_percent:
        return
    raise ContourError(
        f"ROI {roi.name!r} lies outside the {kind.upper()}",
        where="(3006,0050) Contour Data",
        expected=f"at most {settings.max_outside_percent:g} % of its volume outside",
        got=f"{percent:.1f} %",
        action="send the whole image, or raise contours.max_outside_percent",
    )


def _notes(
    roi: Roi, structures: StructureSet, belongs: tuple[Kind, str], image: Image, drawn: Rasterised
) -> list[str]:
    """What the user should know of an ROI that is used."""
    kind, matched_by = belongs
    name, planes, found = f"ROI {roi.name!r}", drawn.planes, []
    if matched_by != "referenced series":
        found.append(
            f"{name} refers to no series in use; it shares the {kind.upper()}'s frame of reference and is "
            "placed by its coordinates"
        )
    elif image.frame_uid and roi.frame_uid and roi.frame_uid != image.frame_uid:
        found.append(f"{name} refers to the {kind.upper()} series but to another frame of reference")
    if roi.skipped:
        found.append(f"{name}: contours were left out{_kinds(roi)}")
    if drawn.outside_share > 1e-3:
        found.append(f"{name}: {100 * drawn.outside_share:.1f} % of its volume lies outside the image")
    if drawn.crossing_planes:
        found.append(
            f"{name}: contours cross each other or themselves on {drawn.crossing_planes} planes (XOR taken)"
        )
    if planes.gaps:
        found.append(f"{name}: planes are missing in {planes.gaps} places; nothing was filled in there")
    share = on_slices(image.grid, roi.contours)
    if share < 1 or abs(planes.step - 1) > 0.05:
        found.append(
            f"{name}: {100 * share:.0f} % of contours lie on slices of the {kind.upper()}, planes are "
            f"{planes.step:.2f} slices apart; voxels count by the volume the contours enclose"
        )
    if not drawn.mask.any():
        found.append(f"{name} fills no voxel of the {kind.upper()} by more than half")
    return found
