"""Whether the frames of a series agree with the time that its values are taken to refer to."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.dicom.header.dicom_time import HALF_DAY_S, DicomTime, PetTimes
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.dicom.header.readable import duration, percent_of_suv
from pipeline.dicom.pet.decay_timing import ReferenceTime
from pipeline.dicom.pet.time_evidence import SecondOpinion, contradicts, second_opinions, suv_percent
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

_ACQUIRED, _SERIES = "(0008,0032) Acquisition Time", "(0008,0031) Series Time"
_SAME_MINUTE_S = 60.0


def agreed_reference(
    times: PetTimes, reference: ReferenceTime, half_life_s: float, settings: SuvSettings
) -> ReferenceTime:
    """The reference time, unless the frames contradict it by more than the settings bear.

    Any element of the frames outvotes it, whatever it was taken from: a scanner's private time may be the
    wrong one as well. Without a frame's word, a time that is called the decay correction's or the scan's is outvoted
    by series and acquisition times that both lie elsewhere.

    Raises:
        SuvError: They do, and `suv.reference_time` does not say whom to believe; beds that were corrected each
            to its own start have no time in common, and cannot be believed.
    """
    opinions = second_opinions(times, reference, half_life_s)
    limit = settings.reference_time_percent
    against = [each for each in opinions if contradicts(each.against_s, half_life_s, limit)]
    if any(not contradicts(each.against_s, half_life_s) for each in opinions if not each.own_start):
        against = [each for each in against if not each.own_start]
    if not opinions:
        against = _against_a_named_time(times, reference, half_life_s, limit)
    if not against or settings.reference_time == "header":
        return reference
    parted = [each for each in against if contradicts(each.spread_s, half_life_s, limit)]
    if parted:
        raise _parted(reference, parted[0], half_life_s, settings)
    if settings.reference_time == "frames":
        return _believed(reference, against[0])
    raise _contradicted(reference, against, half_life_s, settings)


def _against_a_named_time(
    times: PetTimes, reference: ReferenceTime, half_life_s: float, limit: float
) -> list[SecondOpinion]:
    """First acquisition and series time, where both are far from a time called the decay correction's or the scan's.

    Images are corrected to the start of acquisition (PS3.3 C.8.9.1.1.5, `START`), which a series time before it may
    tell better than a series cut to later beds. (0018,9701) may be the injection's time, too.
    """
    acquired, named = times.first_acquisition, reference.time
    if reference.source != "decay_correction":
        return []
    if "(0018,9701)" in reference.element and _is_the_injections(times, named):
        return []
    witnesses = [] if acquired is None else [(_ACQUIRED, acquired.seconds_since(named))]
    if times.series is not None and (
        acquired is None or -HALF_DAY_S < times.series.seconds_since(acquired) <= 0
    ):
        witnesses.append((_SERIES, times.series.seconds_since(named)))
    if not _comparable(named, acquired or times.series):
        return []
    against = [
        SecondOpinion(element, seconds, seconds, seconds)
        for element, seconds in witnesses
        if contradicts(seconds, half_life_s, limit) and abs(seconds) < HALF_DAY_S
    ]
    return against if len(against) == len(witnesses) else []


def _is_the_injections(times: PetTimes, named: DicomTime) -> bool:
    injection = times.injection
    if injection is None and times.injection_clock_s is not None:
        injection = DicomTime(named.day, times.injection_clock_s)
    return (
        injection is not None
        and _comparable(named, injection)
        and abs(named.seconds_since(injection)) <= _SAME_MINUTE_S
    )


def _comparable(named: DicomTime, other: DicomTime | None) -> bool:
    """Whether two times are on one clock: both or neither with an offset from UTC."""
    return other is None or (named.offset_min is None) == (other.offset_min is None)


def _believed(reference: ReferenceTime, opinion: SecondOpinion) -> ReferenceTime:
    audit = SuvAudit(
        path=(f"reference time by {opinion.element}, {opinion.median_s:+.0f} s",),
        assumptions=(f"{opinion.element} believed by suv.reference_time, not {reference.element}",),
    )
    shifted = reference.time.shifted(opinion.median_s)
    return ReferenceTime(shifted, "scan", opinion.element, reference.audit + audit)


def _contradicted(
    reference: ReferenceTime, against: Sequence[SecondOpinion], half_life_s: float, settings: SuvSettings
) -> SuvError:
    seconds = against[0].against_s
    order = "later" if seconds > 0 else "earlier"
    return SuvError(
        "the frames contradict the time that decay was corrected to",
        where=f"{reference.element}, {' and '.join(o.element for o in against)}",
        expected=f"times that change SUV by at most {settings.reference_time_percent:g} %",
        got=f"{duration(seconds)} {order} by the frames, "
        f"{percent_of_suv(suv_percent(seconds, half_life_s))} of SUV",
        action="find out which is right, and set suv.reference_time: header or frames",
    )


def _parted(
    reference: ReferenceTime, opinion: SecondOpinion, half_life_s: float, settings: SuvSettings
) -> SuvError:
    return SuvError(
        "slices were not corrected for decay to one time",
        where=f"{reference.element}, {opinion.element}",
        expected=f"times that change SUV by at most {settings.reference_time_percent:g} %",
        got=f"times {duration(opinion.spread_s)} apart, {percent_of_suv(suv_percent(opinion.spread_s, half_life_s))} "
        "of SUV: each bed may count from its own start",
        action="ask for the original export, or set suv.reference_time: header if all were corrected to one",
    )
