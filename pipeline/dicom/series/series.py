"""A series: its instances in order, its examination, and one frame of several at each position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.dicom.header.geometry import depths_of, slice_order
from pipeline.dicom.series.instance import Instance


@dataclass(frozen=True)
class Series:
    """The instances of one series, in order along the normal where they have one.

    Attributes:
        instances: Those in use.
        note: Why some instances of the series are left out, or are another series'; empty if none are.
        joined_uid: The UID that a series of several parts goes by; empty for a series as it was exported.
        left_out: Which files of the series are no slices, and are left out; empty if none are.
    """

    instances: tuple[Instance, ...]
    note: str = ""
    joined_uid: str = ""
    left_out: str = ""

    @property
    def first(self) -> Instance:
        """The first instance, which represents the series."""
        return self.instances[0]

    @property
    def uid(self) -> str:
        """(0020,000E) Series Instance UID."""
        return self.joined_uid or self.first.series_uid

    @property
    def uids(self) -> frozenset[str]:
        """UIDs of all series that the instances were exported in, or sent again."""
        return frozenset(uid for i in self.instances for uid in (i.series_uid, *i.sent_as))

    @property
    def study(self) -> str:
        """(0020,000D) Study Instance UID."""
        return self.first.study_uid

    @property
    def frame(self) -> str:
        """(0020,0052) Frame of Reference UID."""
        return self.first.frame_of_reference_uid

    @property
    def frames(self) -> frozenset[str]:
        """All (0020,0052) of the instances."""
        return frozenset(instance.frame_of_reference_uid for instance in self.instances)

    @property
    def studies(self) -> frozenset[str]:
        """All (0020,000D) of the instances."""
        return frozenset(instance.study_uid for instance in self.instances)

    @property
    def slices(self) -> int:
        """Number of image planes, each frame of a multi-frame object counted."""
        return sum(len(instance.planes) for instance in self.instances)

    def has_geometry(self) -> bool:
        """Whether every plane has a position, an orientation and a spacing."""
        return all(i.planes and all(p.is_complete() for p in i.planes) for i in self.instances)


@dataclass(frozen=True)
class Examination:
    """CT and PET series of one date, within one study or, where no study is complete, within all.

    Attributes:
        uids: The series; those without any date belong to every examination of their study.
        studies: Their studies.
        began: What orders examinations: date, study date and time, study.
    """

    uids: frozenset[str]
    studies: frozenset[str]
    began: tuple[int, str, str]


def series_of(instances: Sequence[Instance]) -> list[Series]:
    """Group instances by series; each is put in order along its normal."""
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.series_uid, []).append(instance)
    return [ordered(Series(tuple(group))) for _, group in sorted(groups.items())]


def ordered(series: Series) -> Series:
    """A series in order along its normal, where all its planes have a place."""
    if not series.has_geometry():
        return series
    order = slice_order([instance.planes[0] for instance in series.instances])
    return replace(series, instances=tuple(series.instances[i] for i in order))


def one_frame(series: Series, which: Literal["first", "last"]) -> Series:
    """One image per position of a dynamic or gated series; the whole series where that is not clear.

    Images at one position are ordered by :attr:`Instance.acquisition_order`. Every position must
    have the same number of images. Multi-frame objects are left as they are.
    """
    if not series.has_geometry() or any(len(i.planes) != 1 for i in series.instances):
        return series
    depths = depths_of([i.planes[0] for i in series.instances])
    groups: list[list[Instance]] = []
    for number, (depth, instance) in enumerate(zip(depths, series.instances, strict=True)):
        if number and depth - depths[number - 1] < 1e-3:
            groups[-1].append(instance)
        else:
            groups.append([instance])
    frames = len(groups[0])
    if frames < 2 or any(len(group) != frames for group in groups):
        return series
    pick = min if which == "first" else max
    chosen = tuple(pick(group, key=lambda instance: instance.acquisition_order) for group in groups)
    note = f"the {which} of {frames} images at each position by index.repeated_frames"
    return replace(series, instances=chosen, note=note)
