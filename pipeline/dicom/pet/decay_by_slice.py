"""Decay from the injection to each slice's own frame, for values without any correction for decay.

The frame lies where its acquisition time says, or, where the beds of a scan share one acquisition time, at the
offset of (0054,1300) Frame Reference Time from it. Where the two contradict each other, none is believed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.dicom.header.dicom_time import HALF_DAY_S, DicomTime, FrameTimes, PetTimes
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.dicom.header.readable import duration, percent_of_suv
from pipeline.dicom.pet.injection_time import injection_time
from pipeline.dicom.pet.radionuclide import average_time, decay_fraction
from pipeline.dicom.pet.time_evidence import (
    TimeEvidence,
    contradicts,
    counted_ms,
    counts_to_start,
    suv_percent,
)
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

# Frames of a dynamic scan last some seconds, the longest static ones hours; a duration written in seconds where
# milliseconds belong (1200 for 20 min) is shorter.
_FRAME_S = (5.0, 4 * 3600.0)
_WHERE = "(0008,0032) Acquisition Time, (0054,1300) Frame Reference Time"


@dataclass(frozen=True)
class Decay:
    """Shares of the dose that were left at the time values refer to: one, or one per slice."""

    fractions: tuple[float, ...]
    audit: SuvAudit
    evidence: tuple[TimeEvidence, ...] = ()


@dataclass(frozen=True)
class _Frame:
    """One slice's frame.

    Attributes:
        acquired: Its acquisition time.
        lasts_s: Its duration.
        average_s: Time after the frame's start at which the activity equals the frame's mean.
        begins_s: Start of the frame by (0054,1300), counted from the scan's start; None where it is not filled in.
    """

    acquired: DicomTime
    lasts_s: float
    average_s: float
    begins_s: float | None


def decay_by_slice(times: PetTimes, half_life_s: float, settings: SuvSettings) -> Decay:
    """Decay from injection to the average time of each slice's own frame.

    Raises:
        SuvError: Times or durations are missing or impossible, or (0054,1300) contradicts the acquisition times.
    """
    frames = _frames(times, half_life_s)
    first = times.first_acquisition
    if first is None or len(frames) < len(times.frames):
        raise SuvError(
            "values without decay correction need each slice's own times",
            where="(0008,0032) Acquisition Time, (0018,1242) Actual Frame Duration",
            expected="both in every slice",
            got="missing in some",
        )
    starts, audit = _starts(frames, times, half_life_s, settings)
    injection = injection_time(times, first, settings, half_life_s)
    fractions = tuple(
        decay_fraction(start.seconds_since(injection.time) + frame.average_s, half_life_s)
        for start, frame in zip(starts, frames, strict=True)
    )
    step = "decay correction NONE: each slice decayed to the average time of its frame"
    return Decay(fractions, injection.audit + SuvAudit(path=(step,)) + audit)


def _frames(times: PetTimes, half_life_s: float) -> list[_Frame]:
    """The slices' frames; those without acquisition time or duration are left out."""
    told = bool(counted_ms(times))
    to_start = told and counts_to_start(times, half_life_s)
    frames = []
    for frame in times.frames:
        if frame.acquired is None or not frame.duration_ms:
            continue
        lasts_s = _usable_duration_s(frame.duration_ms)
        average_s = average_time(lasts_s, half_life_s)
        begins_s = _begins_s(frame, 0.0 if to_start else average_s) if told else None
        frames.append(_Frame(frame.acquired, lasts_s, average_s, begins_s))
    return frames


def _begins_s(frame: FrameTimes, average_s: float) -> float | None:
    return None if frame.reference_ms is None else frame.reference_ms / 1000.0 - average_s


def _usable_duration_s(duration_ms: float) -> float:
    """(0018,1242) in seconds.

    Raises:
        SuvError: No frame of a PET lasts so long, or so short.
    """
    low, high = _FRAME_S
    if low <= duration_ms / 1000.0 <= high:
        return duration_ms / 1000.0
    in_seconds = low <= duration_ms <= high
    raise SuvError(
        "impossible duration of a frame, which values without decay correction need",
        where="(0018,1242) Actual Frame Duration",
        expected=f"{1000 * low:g} to {1000 * high:g} ms",
        got=f"{duration_ms:g}" + (" (seconds?)" if in_seconds else " ms"),
        action="correct it",
    )


def _starts(
    frames: Sequence[_Frame], times: PetTimes, half_life_s: float, settings: SuvSettings
) -> tuple[list[DicomTime], SuvAudit]:
    """When each frame began: at its acquisition time, or by (0054,1300) after one that all beds share."""
    own = [frame.acquired for frame in frames]
    known = [frame.begins_s for frame in frames if frame.begins_s is not None]
    if not known:
        return own, _unsupported(frames, times)
    beds_s = max(known) - min(known)
    apart_s = _apart_s(frames, times)
    if len(known) == len(frames) and not times.acquisitions_differ and contradicts(beds_s, half_life_s, 0.0):
        if not contradicts(min(known), half_life_s) and not _overlap(frames):
            told = (
                "the acquisition time is the scan's start: several beds share it, and differ by (0054,1300)"
            )
            flags = _series_flags(own, times, half_life_s)
            return _by_offset(frames), SuvAudit(assumptions=(told,), flags=flags)
        apart_s = max(known)
    if not contradicts(apart_s, half_life_s):
        return own, SuvAudit(flags=_series_flags(_scan_starts(frames), times, half_life_s))
    percent = percent_of_suv(suv_percent(apart_s, half_life_s))
    if (
        not contradicts(apart_s, half_life_s, settings.reference_time_percent)
        or settings.reference_time == "header"
    ):
        flag = f"(0054,1300) speaks for frames {duration(apart_s)} apart from their acquisition times: SUV {percent}"
        return own, SuvAudit(flags=(flag,))
    if settings.reference_time == "frames" and len(known) == len(frames):
        told = "frames lie by (0054,1300) after the acquisition time, as suv.reference_time has it"
        return _by_offset(frames), SuvAudit(assumptions=(told,))
    raise SuvError(
        "the time of the frames of values without decay correction is not clear",
        where=_WHERE,
        expected=f"times that change SUV by at most {settings.reference_time_percent:g} %",
        got=f"frames that lie {duration(apart_s)} apart from their acquisition times by (0054,1300), {percent} of SUV",
        action="find out when the frames were acquired, and set suv.reference_time: header (at their acquisition "
        "times) or frames (by (0054,1300) after them)",
    )


def _apart_s(frames: Sequence[_Frame], times: PetTimes) -> float:
    """By how much (0054,1300) and the acquisition times part, as if the latter were the frames' own starts.

    Scan starts that differ between slices contradict them, except where every bed counts from its own start. Of
    a frame that begins long after the scan's start, the series time must say when that was.
    """
    counted = [frame for frame in frames if frame.begins_s is not None]
    begins = [frame.begins_s or 0.0 for frame in counted]
    base = counted[0].acquired
    starts = [
        frame.acquired.seconds_since(base) - begin for frame, begin in zip(counted, begins, strict=True)
    ]
    each_its_own = times.acquisitions_differ and max(begins) - min(begins) < 0.5
    late_s = max(0.0, min(begins))
    if not each_its_own and max(starts) - min(starts) > 2.0:
        return max(starts) - min(starts)
    if times.acquisitions_differ and not each_its_own:
        return 0.0
    if times.series is None:
        return late_s
    since_series_s = min(frame.acquired.seconds_since(times.series) for frame in counted)
    return 0.0 if abs(since_series_s - late_s) <= 2.0 else late_s


def _overlap(frames: Sequence[_Frame]) -> bool:
    """Whether frames of different starts overlap in time, as no two beds of a scanner do."""
    spans = sorted({(frame.begins_s or 0.0, frame.lasts_s) for frame in frames})
    return any(
        later[0] - earlier[0] > 1.0 and later[0] < earlier[0] + earlier[1] - 1.0
        for earlier, later in itertools.pairwise(spans)
    )


def _scan_starts(frames: Sequence[_Frame]) -> list[DicomTime]:
    """The scan's start, counted back by (0054,1300) from each frame's own acquisition time."""
    return [frame.acquired.shifted(-frame.begins_s) for frame in frames if frame.begins_s is not None]


def _series_flags(starts: Sequence[DicomTime], times: PetTimes, half_life_s: float) -> tuple[str, ...]:
    """Flag a series time before the scan's start that the frames tell."""
    if times.series is None:
        return ()
    wait_s = min(start.seconds_since(times.series) for start in starts)
    if not 0 < wait_s < HALF_DAY_S or not contradicts(wait_s, half_life_s):
        return ()
    return (
        f"by (0054,1300) the scan began {duration(wait_s)} after the series time; frames are taken at their "
        f"acquisition times, SUV {percent_of_suv(suv_percent(-wait_s, half_life_s))} by the series time",
    )


def _unsupported(frames: Sequence[_Frame], times: PetTimes) -> SuvAudit:
    """Flag a whole series of one acquisition time of which nothing says whether it is one bed."""
    if times.acquisitions_differ or len(frames) < 2:
        return SuvAudit()
    flag = (
        "all slices have one acquisition time, and no (0054,1300) says whether they are beds of a longer scan"
    )
    return SuvAudit(flags=(flag,))


def _by_offset(frames: Sequence[_Frame]) -> list[DicomTime]:
    return [frame.acquired.shifted(frame.begins_s or 0.0) for frame in frames]
