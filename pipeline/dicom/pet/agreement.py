"""Whether the frames of a series agree with the time that its values are taken to refer to."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.dicom.header.dicom_time import HALF_DAY_S, PetTimes
from pipeline.dicom.header.pet_header import SuvAudit
from pipeline.dicom.header.readable import duration, percent_of_suv
from pipeline.dicom.pet.decay_timing import ReferenceTime
from pipeline.dicom.pet.time_evidence import SecondOpinion, contradicts, second_opinions, suv_percent
from pipeline.errors import SuvError
from pipeline.settings.dicom import SuvSettings

_ACQUIRED = "(0008,0032) Acquisition Time"


def agreed_reference(
    times: PetTimes, reference: ReferenceTime, half_life_s: float, settings: SuvSettings
) -> ReferenceTime:
    """The reference time, unless the frames contradict it by more than the settings bear.

    Any element of the frames outvotes it, whatever it was taken from: a scanner's private time may be the
    wrong one as well. Without a frame's word, a private time is outvoted by series and acquisition times
    that both lie elsewhere.

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
    """Series and first acquisition, where both are far from a scanner's private time.

    (0018,9701) is the standard's own element, and may be the injection's time.
    """
    private = reference.source == "decay_correction" and "private" in reference.element
    if not private or times.first_acquisition is None or times.series is None:
        return []
    seconds = [time.seconds_since(reference.time) for time in (times.first_acquisition, times.series)]
    if not all(contradicts(each, half_life_s, limit) and abs(each) < HALF_DAY_S for each in seconds):
        return []
    return [SecondOpinion(_ACQUIRED, seconds[0], seconds[0], seconds[0])]


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
