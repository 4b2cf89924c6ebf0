"""Examinations of a patient: which series were made on one day, and whether the PET and the CT were."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.dicom.header.dicom_time import DAY_S, parse_date, parse_time
from pipeline.dicom.series.instance import Instance
from pipeline.dicom.series.rows import role_of
from pipeline.dicom.series.series import Examination, Series
from pipeline.errors import DicomError
from pipeline.settings.dicom import IndexSettings

_HALF_A_DAY_H = 12.0
_MOST_DAYS = 1
"""A scan that runs past midnight has two dates; what is further apart is another examination."""


@dataclass(frozen=True)
class SeriesDate:
    """When a series was made.

    Attributes:
        day: Ordinal of the date.
        seconds: Time of day; None where it is not given.
    """

    day: int
    seconds: float | None


def _texts(instances: Iterable[Instance], element: int) -> list[str]:
    if element == 0:
        return [t for i in instances for t in (i.frames_acquired or (i.acquisition_order.acquired,))]
    return [i.series_datetime if element == 1 else i.study_datetime for i in instances]


def _earliest_date(series: Series, element: int) -> SeriesDate | None:
    """The earliest date and time of day that the slices give in one element."""
    moments = [(parse_date(text[:8]), parse_time(text[8:])) for text in _texts(series.instances, element)]
    known = sorted((day, -1.0 if time is None else time) for day, time in moments if day is not None)
    return SeriesDate(known[0][0], known[0][1] if known[0][1] >= 0 else None) if known else None


def dates_of(series: Sequence[Series]) -> list[SeriesDate | None]:
    """When each of some series was made; None where no date is given.

    De-identification may shift or remove the dates of one element alone, so the same element is compared: the
    first of acquisition (0008,0022), series (0008,0021) and study (0008,0020) that all dated series have.
    """
    by_element = [[_earliest_date(each, element) for each in series] for element in range(3)]
    dated = [any(found) for found in zip(*by_element, strict=True)]
    for moments in by_element:
        if all(moment or not any_date for moment, any_date in zip(moments, dated, strict=True)):
            return moments
    return [next((m for m in found if m), None) for found in zip(*by_element, strict=True)]


def hours_apart(first: Series, second: Series) -> float | None:
    """Hours between two series, of which only whole days count where a time of day is missing; None without dates."""
    one, other = dates_of([first, second])
    if one is None or other is None:
        return None
    seconds = 0.0
    if one.seconds is not None and other.seconds is not None:
        seconds = other.seconds - one.seconds
    return abs((other.day - one.day) * DAY_S + seconds) / 3600.0


def days_apart(first: Series, second: Series) -> int | None:
    """Days between the dates of two series; None without dates."""
    one, other = dates_of([first, second])
    return None if one is None or other is None else abs(other.day - one.day)


def apart_rank(series: Series, pet: Series) -> int:
    """0: one date, or past midnight, or not known; 1: a day later; 2: further apart."""
    days, hours = days_apart(series, pet), hours_apart(series, pet)
    if not days or hours is None:
        return 0
    if days > _MOST_DAYS:
        return 2
    return int(hours > _HALF_A_DAY_H)


def one_examination(usable: Sequence[Series], settings: IndexSettings) -> Examination | None:
    """The examination to use; None if none holds all that is needed (then all series are candidates).

    Examinations are the dates of a study; where no study has one with all that is needed, the dates of all studies.

    Raises:
        DicomError: Several of them hold what is needed, and no setting chooses.
    """
    images = [series for series in usable if role_of(series) in ("ct", "pet")]
    by_study: dict[str, list[Series]] = {}
    for series in images:
        by_study.setdefault(series.study, []).append(series)
    complete = _complete(by_study.values(), settings) or _complete([images], settings)
    if len(complete) <= 1:
        return complete[0] if complete else None
    if settings.several_studies == "refuse":
        one_study = len({study for each in complete for study in each.studies}) == 1
        raise DicomError(
            "several studies hold usable images"
            if not one_study
            else "one study holds images of several dates",
            where="(0020,000D) Study Instance UID, (0008,0022) Acquisition Date, (0008,0021) Series Date",
            expected="one study, of one date",
            got=f"{len(complete)} "
            + ("examinations, more than a day apart" if one_study else "studies or dates"),
            action="set index.several_studies to first or last, or name one study's folder",
        )
    return complete[0] if settings.several_studies == "first" else complete[-1]


def _complete(groups: Iterable[Sequence[Series]], settings: IndexSettings) -> list[Examination]:
    """Of each group the dates that have all modalities that are needed, the earliest first."""
    found: list[Examination] = []
    for group in groups:
        for day, part in _by_date(group):
            if {role_of(series) for series in part} >= set(settings.modalities):
                uids, studies = (frozenset(s.uid for s in part), frozenset(s.study for s in part))
                first = min(part, key=lambda s: (s.first.study_datetime, s.study)).first
                found.append(Examination(uids, studies, (day, first.study_datetime, first.study_uid)))
    return sorted(found, key=lambda each: each.began)


def _by_date(group: Sequence[Series]) -> list[tuple[int, list[Series]]]:
    """Series whose dates follow each other within a day, by the first date; undated ones belong to each."""
    moments = dates_of(group)
    undated = [series for series, moment in zip(group, moments, strict=True) if moment is None]
    dated = sorted(
        ((m.day, s.uid, s) for s, m in zip(group, moments, strict=True) if m is not None),
        key=lambda entry: entry[:2],
    )
    parts: list[tuple[int, list[Series]]] = []
    last = None
    for day, _, series in dated:
        if last is None or day - last > _MOST_DAYS:
            parts.append((day, []))
        parts[-1][1].append(series)
        last = day
    return [(day, part + undated) for day, part in parts] or ([(0, undated)] if undated else [])


def date_warnings(pet: Series, ct: Series, rivals: bool, settings: IndexSettings) -> list[str]:
    """Warnings of a PET and a CT that may be of two examinations.

    Args:
        pet: The PET in use.
        ct: The CT in use.
        rivals: Whether there are other series that could be the one or the other.
        settings: What is done where dates differ.

    Raises:
        DicomError: Their dates are more than a day apart, and the settings refuse it.
    """
    days, hours = days_apart(pet, ct), hours_apart(pet, ct)
    if days is None or hours is None:
        dated = sum(any(dates_of([each])) for each in (pet, ct))
        if dated == 1 or (rivals and not dated):
            return ["PET and CT: dates are missing, so nothing says that they are of one examination"]
        return []
    if days <= _MOST_DAYS:
        if days and hours > _HALF_A_DAY_H:
            return [f"PET and CT: they were made {hours:.0f} hours apart, on two days"]
        return []
    if settings.different_dates == "refuse":
        raise DicomError(
            "PET and CT are not of one date",
            where="(0008,0022) Acquisition Date, else (0008,0021) Series Date, else (0008,0020) Study Date",
            expected="at most one day between them",
            got=f"{days} days",
            action="send series of one examination, or set index.different_dates: accept if de-identification "
            "shifted dates, or if the two are to be used although they are of different days",
        )
    return [f"PET and CT: their dates are {days} days apart, which index.different_dates accepts"]
