"""Series that hold more than one acquisition or stack, and acquisitions that lie in more than one series."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from pipeline.dicom.header.dicom_time import DAY_S, HALF_DAY_S, parse_date, parse_datetime, parse_time
from pipeline.dicom.header.geometry import Plane, depths_of
from pipeline.dicom.series.instance import Instance
from pipeline.dicom.series.series import Series
from pipeline.dicom.series.stacks import two_stacks
from pipeline.volumes.volume import FloatArray

# Spread of the scan's start, as acquisition and reference times of slices imply it, that one scan may have.
_SAME_START_S = 300.0
# Gaps of a joined stack may differ by this much, and its slices be shifted sideways.
_JOINED_MM = 0.1
_NAMED_SIZES = 4


@dataclass(frozen=True)
class Acquisition:
    """Images of a series that were acquired without a long pause.

    Attributes:
        instances: In the order of the series.
        planes: All their image planes, or those frames of a multi-frame object that belong to it.
        start_s: The first one's time, in seconds from an arbitrary day.
    """

    instances: tuple[Instance, ...]
    planes: tuple[Plane, ...]
    start_s: float

    def extent(self, series: Series) -> tuple[float, float]:
        """Least and greatest position along the normal of the series' first plane."""
        depths = depths_of([series.first.planes[0], *self.planes])[1:]
        return float(depths.min()), float(depths.max())


@dataclass(frozen=True)
class _Image:
    """One image plane with the instance that it is in and its acquisition date and time as written."""

    instance: Instance
    plane: Plane
    acquired: str


def _images(series: Series) -> list[_Image]:
    images = []
    for instance in series.instances:
        count = len(instance.planes)
        times = instance.frames_acquired
        written = (
            times if len(times) == count and all(times) else (instance.acquisition_order.acquired,) * count
        )
        images += [_Image(instance, *pair) for pair in zip(instance.planes, written, strict=True)]
    return images


def acquisitions_of(series: Series, gap_minutes: float) -> list[Acquisition]:
    """Acquisitions of a series in the order of time; one where times are missing.

    Args:
        series: A series with geometry.
        gap_minutes: A longer time between the starts of neighbours (in time) parts two acquisitions.
    """
    images = _images(series)
    times = _seconds([image.acquired for image in images])
    if times is None:
        return [Acquisition(series.instances, tuple(image.plane for image in images), 0.0)]
    order = np.argsort(times, kind="stable")
    part = np.zeros(len(times), dtype=int)
    part[order] = np.concatenate([[0], np.cumsum(np.diff(times[order]) > gap_minutes * 60.0)])
    return [_acquisition(images, times, part == number) for number in range(int(part.max()) + 1)]


def _acquisition(images: Sequence[_Image], times: FloatArray, inside: npt.NDArray[np.bool_]) -> Acquisition:
    own = [image for image, chosen in zip(images, inside, strict=True) if chosen]
    instances = {image.instance.sop_instance_uid: image.instance for image in own}
    planes = tuple(image.plane for image in own)
    return Acquisition(tuple(instances.values()), planes, float(times[inside].min()))


def _seconds(written: Sequence[str]) -> FloatArray | None:
    """Acquisition dates and times in seconds; None where one cannot be read.

    Times of one date that lie more than half a day apart run past midnight.
    """
    moments = [_moment(text) for text in written]
    known = [moment for moment in moments if moment is not None]
    if len(known) < len(moments):
        return None
    days = np.array([day for day, _ in known], dtype=float)
    clock = np.array([seconds for _, seconds in known])
    if len(set(days)) == 1 and clock.max() - clock.min() > HALF_DAY_S:
        clock = np.where(clock < HALF_DAY_S, clock + DAY_S, clock)
    return np.asarray(days * DAY_S + clock)


def _moment(text: str) -> tuple[int, float] | None:
    """Day (0 where no date is written) and seconds of `YYYYMMDDHHMMSS.F` or `HHMMSS.F`."""
    whole = parse_datetime(text)
    if whole is not None and whole.day is not None:
        return whole.day, whole.seconds
    day, seconds = parse_date(text[:8]), parse_time(text[8:])
    if day is not None and seconds is not None:
        return day, seconds
    seconds = parse_time(text)
    return None if seconds is None else (0, seconds)


def several_acquisitions(series: Series, gap_minutes: float, pet: bool) -> str:
    """Why a series cannot be one volume of one time; empty if it can.

    Acquisitions that lie over one another are two scans. Side by side they are one scan with a
    pause, which a PET may only be if all its slices were corrected to one start.
    """
    parts = acquisitions_of(series, gap_minutes)
    if len(parts) < 2:
        return two_stacks(series, _by_position(series))
    extents = sorted(part.extent(series) for part in parts)
    seen = ", ".join(
        f"{len(part.planes)} slices"
        + (f" {(part.start_s - parts[0].start_s) / 60:.0f} min later" if number else "")
        for number, part in enumerate(parts)
    )
    if any(later[0] < earlier[1] for earlier, later in itertools.pairwise(extents)):
        return (
            f"several acquisitions in one series, over one another: {seen} (see index.several_acquisitions)"
        )
    if pet and not _one_start(series):
        return (
            f"several acquisitions in one series, side by side: {seen}; their (0054,1300) Frame Reference Times "
            "do not count from one start (see index.several_acquisitions)"
        )
    return ""


def _by_position(series: Series) -> FloatArray | None:
    """Acquisition times of all planes in the order of their positions, in seconds after the first."""
    images = _images(series)
    times = _seconds([image.acquired for image in images])
    if times is None:
        return None
    order = np.argsort(depths_of([image.plane for image in images]), kind="stable")
    return np.asarray(times[order] - times.min())


def _one_start(series: Series) -> bool:
    """Whether slices that are corrected to the scan's start imply one and the same start."""
    if {instance.decay_correction for instance in series.instances} <= {"ADMIN", "NONE"}:
        return True
    if all(instance.frames_acquired for instance in series.instances):
        return True  # a multi-frame object has one (0018,9701) Decay Correction DateTime
    times = _seconds([instance.acquisition_order.acquired for instance in series.instances])
    reference = [instance.acquisition_order.frame_reference_time for instance in series.instances]
    if times is None or not all(reference):
        return False
    starts = times - np.array(reference) / 1000.0
    return bool(np.ptp(starts) <= _SAME_START_S)


def one_acquisition(series: Series, which: Literal["first", "last"], gap_minutes: float) -> Series:
    """The first or the last acquisition of a series; the whole series if it holds one."""
    if not series.has_geometry() or any(len(instance.planes) != 1 for instance in series.instances):
        return series
    parts = acquisitions_of(series, gap_minutes)
    if len(parts) < 2:
        return series
    note = f"the {which} of {len(parts)} acquisitions by index.several_acquisitions"
    return replace(series, instances=parts[0 if which == "first" else -1].instances, note=note)


def joined_parts(series: Sequence[Series]) -> dict[str, Series]:
    """PET and CT series that were exported in parts, even in one for each slice, each joined to one stack.

    Parts have one study, frame of reference, time, orientation, matrix, units and corrections, kernel and voltage; they
    lie side by side, and together make one evenly spaced stack.

    Returns:
        By the UID of each part, the joined series; it goes by the UID of its largest part.
    """
    groups: dict[Hashable, list[Series]] = {}
    for each in series:
        if each.first.modality in ("PT", "CT") and each.has_geometry():
            groups.setdefault(_join_key(each), []).append(each)
    joined: dict[str, Series] = {}
    for parts in groups.values():
        whole = _joined(parts) if len(parts) > 1 else None
        if whole is not None:
            joined.update({part.uid: whole for part in parts})
    return joined


def _join_key(series: Series) -> Hashable:
    first = series.first
    plane = first.planes[0]
    return (
        *(series.study, series.frame, first.series_datetime, first.sop_class_uid, first.units),
        *(first.kernel, first.kvp),
        *(frozenset(first.corrected), first.image_type, first.series_type, plane.shape),
        *(round(value, 3) for value in (*plane.spacing_mm, *plane.orientation)),
    )


def _joined(parts: Sequence[Series]) -> Series | None:
    largest = max(parts, key=lambda part: (part.slices, part.uid))
    if any(len(instance.planes) != 1 for part in parts for instance in part.instances):
        return None
    instances = [
        instance for part in (largest, *(p for p in parts if p is not largest)) for instance in part.instances
    ]
    planes = [instance.planes[0] for instance in instances]
    depths = depths_of(planes)
    order = np.argsort(depths, kind="stable")
    owners = [instances[i].series_uid for i in order]
    side_by_side = sum(a != b for a, b in itertools.pairwise(owners)) == len(parts) - 1
    gaps = np.diff(depths[order])
    positions = np.asarray([planes[i].position for i in order])
    ends = np.linspace(positions[0], positions[-1], len(positions))
    straight = float(np.abs(positions - ends).max()) <= 2 * _JOINED_MM
    if not (side_by_side and straight and gaps.min() > 0 and float(np.ptp(gaps)) <= _JOINED_MM):
        return None
    sizes = " and ".join(str(part.slices) for part in parts[:_NAMED_SIZES]) + ", …" * (
        len(parts) > _NAMED_SIZES
    )
    note = f"joined of {len(parts)} series of {sizes} slices"
    left_out = "; ".join(part.left_out for part in parts if part.left_out)
    return Series(tuple(instances[i] for i in order), note, largest.uid, left_out)
