"""ROIs of RT Structure Sets as masks, each on the grid of the image it was drawn on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.dicom.contours.named_planes import plane_warnings
from pipeline.dicom.contours.rasterise import Rasterised, rasterise
from pipeline.dicom.contours.references import (
    References,
    drawn_elsewhere,
    image_by_reference,
    names_no_image,
    of_other_images,
)
from pipeline.dicom.contours.roi import (
    BY_INSTANCES,
    BY_SERIES,
    LEFT_OUT,
    MASK_DIFFERENCE_PERCENT,
    ContourFile,
    FileRois,
    ImageMatch,
    ImageSeries,
    Modality,
    RoiMask,
    images_in_frame,
    mask_difference_percent,
    share_on_slices,
)
from pipeline.dicom.header.contour_limits import ContourLimits
from pipeline.dicom.header.rtstruct import Roi, StructureSet, read_rtstruct
from pipeline.errors import ContourError
from pipeline.settings.dicom import ContourSettings

# Nobody draws planes that are a third of a slice apart; a program that does draws on no slices of ten times the place.
_FEWEST_PLANES, _DENSE_SLICES, _ON_SLICES = 3, 0.3, 0.9
OTHER_FRAME = (
    "has coordinates of another frame of reference than the image, (3006,0024), and is left out: they are of "
    "another image"
)
"""Of an ROI of another frame, in words."""
_BY_FRAME = "frame of reference and slice positions"
OTHER_IMAGES = "that name images which are not in use"
"""Of contours within an ROI of an image in use, in words."""


def rtstruct_rois(
    file: ContourFile,
    patterns: Sequence[str],
    images: Mapping[Modality, ImageSeries],
    settings: ContourSettings,
) -> FileRois:
    """Masks of an RTSTRUCT's ROIs whose names match.

    Args:
        file: The RTSTRUCT.
        patterns: Patterns of ROI names.
        images: The images it may have been drawn on.
        settings: Lines per voxel and what may lie outside.

    Raises:
        ContourError: A contour is damaged, does not lie on the image it belongs to, or
            more than the allowed share of it lies outside.
    """
    limits = ContourLimits(
        settings.max_file_mib,
        settings.max_contours,
        settings.max_points,
        settings.max_contours_per_plane,
        settings.max_comparisons,
    )
    structures = read_rtstruct(file.path, patterns, file.label, limits, settings.free_text)
    masks: list[RoiMask] = []
    unused: list[str] = []
    for roi in structures.rois:
        if not roi.contours:
            unused.append(f"ROI {roi.label!r} has no closed contour{_skipped_types(roi)}")
            continue
        match = _image_of(roi, structures, images)
        if match is None:
            unused.append(
                f"ROI {roi.label!r} refers neither to the CT or PET nor to their frame of reference"
            )
            continue
        if _of_another_frame(roi, structures, images[match.modality]):
            unused.append(f"ROI {roi.label!r} of {file.label} {OTHER_FRAME}")
            continue
        if match.drawn_elsewhere and settings.other_image == "leave_out":
            unused.append(f"ROI {roi.label!r} of {file.label} {LEFT_OUT}")
            continue
        foreign = of_other_images(roi.contours, roi.contour_sops, match.modality, images)
        own = roi.without(foreign, OTHER_IMAGES)
        told = _named_planes(own, structures.label, images)
        masks.append(_roi_mask(own, structures, match, images[match.modality], settings, told))
    return FileRois(tuple(masks), structures.names, tuple(unused))


def _named_planes(roi: Roi, label: str, images: Mapping[Modality, ImageSeries]) -> list[str]:
    """Hold the contours' planes against those of the images that they name; see :func:`plane_warnings`."""
    return plane_warnings(
        np.array([points.mean(axis=0) for points in roi.contours]),
        roi.contour_planes,
        (image.planes for image in images.values()),
        f"ROI {roi.label!r}",
        f"{label}, (3006,0016) Contour Image Sequence, (3006,0050) Contour Data",
    )


def _of_another_frame(roi: Roi, structures: StructureSet, image: ImageSeries) -> bool:
    """Whether an ROI names another frame than the image's, of which the RTSTRUCT knows, too.

    Where the RTSTRUCT does not know the image's frame its frames are broken, and the series counts.
    """
    return bool(
        roi.frame_uid and roi.frame_uid != image.frame_uid and image.frame_uid in structures.frame_uids
    )


def _skipped_types(roi: Roi) -> str:
    if not roi.skipped:
        return ""
    return " (" + ", ".join(f"{count} {kind}" for kind, count in roi.skipped.items()) + ")"


def _image_of(
    roi: Roi, structures: StructureSet, images: Mapping[Modality, ImageSeries]
) -> ImageMatch | None:
    """The image an ROI was drawn on, and how that is known.

    By the instances that its contours refer to, where they are of one image in use; else by the series the RTSTRUCT
    refers to; else by the frame of reference, (0020,0052), and the slices that the
    contours lie on. One that refers to other series or instances only was drawn elsewhere. In a shared frame
    a contour is right on either image; it is assigned to the one whose slices it lies on, to the
    CT where it lies on slices of both.
    """
    references = References(structures.series_uids, roi.sops, structures.sop_uids)
    elsewhere = drawn_elsewhere(images, references)
    match = image_by_reference(images, references)
    if match is not None and not elsewhere:
        return match
    frames = frozenset({roi.frame_uid}) if roi.frame_uid else structures.frame_uids
    candidates = images_in_frame(images, frames)
    if not candidates:
        return None
    shares = {m: round(share_on_slices(images[m].grid, roi.contours), 2) for m in candidates}
    modality = max(candidates, key=lambda m: (shares[m], m == "ct"))
    return ImageMatch(modality, _BY_FRAME, elsewhere, by_frame=names_no_image(images, references))


def _roi_mask(
    roi: Roi,
    structures: StructureSet,
    match: ImageMatch,
    image: ImageSeries,
    settings: ContourSettings,
    told: Sequence[str],
) -> RoiMask:
    _require_millimetres(roi, match, image)
    try:
        rasterised = rasterise(roi.contours, image.grid, settings.supersampling, not roi.xor)
    except ContourError as error:
        error.where = f"{structures.label}, ROI {roi.label!r} on the {match.modality.upper()}"
        raise
    _require_inside(rasterised, roi, match.modality, settings)
    planes = rasterised.planes
    return RoiMask(
        name=roi.name,
        label=roi.label,
        match=match,
        mask=rasterised.mask,
        source="rtstruct",
        shares=rasterised.shares if settings.partial_volume else None,
        file_label=structures.label,
        facts={
            "contours": len(roi.contours),
            "planes": len(set(planes.positions.tolist())),
            "plane_distance_slices": round(planes.step, 4),
            "volume_polygons_ml": round(rasterised.polygon_ml, 4),
            "volume_outer_ml": round(rasterised.outer_ml, 4),
            "mask_to_polygons_percent": _mask_difference_percent(rasterised, image),
            "outside_percent": round(100 * rasterised.outside_share, 3),
            "hollow_planes": rasterised.hollow_planes,
            "unknown_instances": match.unknown_instances,
        },
        warnings=(
            *_rejected(roi, structures),
            *told,
            *_match_warnings(roi, match, image),
            *_shape_warnings(roi, match, image, rasterised),
        ),
        content_time=structures.content_time,
    )


def _rejected(roi: Roi, structures: StructureSet) -> list[str]:
    if not structures.rejected:
        return []
    return [
        f"ROI {roi.label!r} is of {structures.label}, whose reviewer rejected it ((300E,0002) Approval Status)"
    ]


def _require_millimetres(roi: Roi, match: ImageMatch, image: ImageSeries) -> None:
    """Refuse contours that lie on the image's slices once they are taken as cm (in m they fill no voxel)."""
    heights = np.unique([round(float(image.grid.indices(points)[0, 0]), 4) for points in roi.contours])
    if len(heights) < _FEWEST_PLANES or np.median(np.diff(heights)) > _DENSE_SLICES:
        return
    if share_on_slices(image.grid, [points * 10.0 for points in roi.contours]) >= _ON_SLICES:
        raise ContourError(
            f"ROI {roi.label!r} is drawn in cm",
            where="(3006,0050) Contour Data",
            expected="mm",
            got=f"contours that lie on slices of the {match.modality.upper()} if taken as cm",
            action="export the contours again",
        )


def _mask_difference_percent(rasterised: Rasterised, image: ImageSeries) -> float | None:
    """By how much the mask's volume differs from what the contours enclose inside the image."""
    enclosed_ml = rasterised.polygon_ml * (1.0 - rasterised.outside_share)
    return mask_difference_percent(rasterised.mask, image.grid, enclosed_ml)


def _require_inside(rasterised: Rasterised, roi: Roi, modality: Modality, settings: ContourSettings) -> None:
    percent = 100 * rasterised.outside_share
    if percent <= settings.max_outside_percent:
        return
    raise ContourError(
        f"ROI {roi.label!r} lies outside the {modality.upper()}",
        where="(3006,0050) Contour Data",
        expected=f"at most {settings.max_outside_percent:g} % of its volume outside",
        got=f"{percent:.1f} %",
        action="send the whole image, or raise contours.max_outside_percent",
    )


def _match_warnings(roi: Roi, match: ImageMatch, image: ImageSeries) -> list[str]:
    """Warnings about the image that an ROI was assigned to."""
    modality = match.modality.upper()
    if match.drawn_elsewhere:
        return [
            f"ROI {roi.label!r} was drawn on images that are not in use; it is placed on the {modality} by its "
            "coordinates (contours.other_image)"
        ]
    if match.matched_by == BY_INSTANCES:
        return [
            f"ROI {roi.label!r} does not refer to the series of the {modality} in use; its instances are those of the "
            f"{modality}"
        ]
    if match.matched_by != BY_SERIES:
        return [
            f"ROI {roi.label!r} refers to no series in use; it shares the {modality}'s frame of reference and "
            "is placed by its coordinates"
        ]
    if image.frame_uid and roi.frame_uid and roi.frame_uid != image.frame_uid:
        return [f"ROI {roi.label!r} refers to the {modality} series but to another frame of reference"]
    return []


def _shape_warnings(roi: Roi, match: ImageMatch, image: ImageSeries, rasterised: Rasterised) -> list[str]:
    """Warnings about contours that were left out, lie outside, cross, or do not fit the slices."""
    name, modality = f"ROI {roi.label!r}", match.modality.upper()
    planes = rasterised.planes
    warnings = []
    if roi.skipped:
        warnings.append(f"{name}: contours were left out{_skipped_types(roi)}")
    if rasterised.outside_share > 1e-3:
        percent = 100 * rasterised.outside_share
        warnings.append(f"{name}: {percent:.1f} % of its volume lies outside the image")
    warnings += _plane_warnings(name, rasterised)
    share = share_on_slices(image.grid, roi.contours)
    if share < 1 or abs(planes.step - 1) > 0.05:
        warnings.append(
            f"{name}: {100 * share:.0f} % of contours lie on slices of the {modality}, planes are "
            f"{planes.step:.2f} slices apart; voxels count by the volume the contours enclose"
        )
    difference = _mask_difference_percent(rasterised, image)
    if rasterised.mask.any() and difference is not None and abs(difference) >= MASK_DIFFERENCE_PERCENT:
        warnings.append(
            f"{name}: the mask's volume on the {modality} differs by {difference:+.1f} % from the contours' "
            f"{rasterised.polygon_ml:.3g} mL: it is thin for its voxels"
        )
    if not rasterised.mask.any():
        warnings.append(f"{name} fills no voxel of the {modality} by more than half")
    return warnings


def _plane_warnings(name: str, rasterised: Rasterised) -> list[str]:
    """Warnings about planes that are missing, and contours that cross, repeat or cancel each other."""
    united, planes = rasterised.united_planes, rasterised.planes
    crossing = rasterised.crossing_planes - united
    warnings = []
    if united:
        warnings.append(f"{name}: contours overlap on {united} planes; their union is taken")
    if crossing:
        warnings.append(f"{name}: contours cross each other or themselves on {crossing} planes (XOR taken)")
    if planes.gaps:
        warnings.append(f"{name}: planes are missing in {planes.gaps} places; nothing was filled in there")
    if planes.beside:
        warnings.append(
            f"{name}: {planes.beside} contours lie within the outline of a plane much closer than its planes are to "
            "each other; they count as parts of the solid, and may be holes"
        )
    if rasterised.repeated:
        warnings.append(f"{name}: {rasterised.repeated} contours repeat another one and were counted once")
    if rasterised.hollow_planes:
        warnings.append(
            f"{name}: on {rasterised.hollow_planes} planes holes or overlaps take away more than half of "
            "the outer contours' area"
        )
    return warnings
