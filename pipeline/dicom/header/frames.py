"""Frames of classic and enhanced DICOM images: functional groups, planes, rescale, corrections."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from pipeline.dicom.header.geometry import Plane
from pipeline.dicom.header.values import integer_of, items_of, number_of, numbers_of, text_of, texts_of
from pipeline.tables.failures import raise_machine_failure

# Where legacy converted objects keep what has no place of its own.
CONVERTED_FRAME = "UnassignedPerFrameConvertedAttributesSequence"
_CONVERTED_SHARED = "UnassignedSharedConvertedAttributesSequence"
_NO_METHOD = re.compile(r"(none|no|nac|off|uncorrected|not corrected)\b", re.IGNORECASE)
_BULK = {0x7FE00010, 0x52009229, 0x52009230}  # pixels, Shared and Per-Frame Functional Groups


@dataclass(frozen=True)
class _Unit:
    """A unit of real world values in the terms of a classic PET, and what turns it into these."""

    units: str
    suv_type: str = ""
    scale: float = 1.0


# (0040,08EA) Measurement Units Code Sequence: UCUM codes, the most useful unit first.
_UNITS = {
    "bq/ml": _Unit("BQML"),
    "kbq/ml": _Unit("BQML", scale=1e3),
    "mbq/ml": _Unit("BQML", scale=1e6),
    "{suvbw}g/ml": _Unit("GML", "BW"),
    "g/ml{suvbw}": _Unit("GML", "BW"),
    "{counts}": _Unit("CNTS"),
    "{suvlbm}g/ml": _Unit("GML", "LBMJAMES128"),
    "{suvlbm(james128)}g/ml": _Unit("GML", "LBMJAMES128"),
    "{suvlbm(janma)}g/ml": _Unit("GML", "LBMJANMA"),
    "{suvibw}g/ml": _Unit("GML", "IBW"),
}
_BY_USE = list(_UNITS)


def planes_of(dataset: Dataset) -> tuple[Plane, ...]:
    """Image planes of an instance: one, or one per frame of an enhanced object (PS3.3 C.7.6.16)."""
    shape = (integer_of(dataset, "Rows") or 0, integer_of(dataset, "Columns") or 0)
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    if not groups:
        return (_plane(dataset, dataset, dataset, shape),)
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")
    return tuple(
        _plane(
            functional_group(group, shared, "PlanePositionSequence"),
            functional_group(group, shared, "PlaneOrientationSequence"),
            functional_group(group, shared, "PixelMeasuresSequence"),
            shape,
        )
        for group in groups
    )


def functional_group(frame: Dataset, shared: list[Dataset], name: str) -> Dataset:
    """A frame's functional group, its own or the shared one; empty if there is neither."""
    for groups in (frame, *shared):
        items = items_of(groups, name)
        if items:
            return items[0]
    return Dataset()


def with_converted_attributes(dataset: Dataset, shared: list[Dataset], groups: list[Dataset]) -> Dataset:
    """Headers together with a legacy converted object's unassigned attributes; the plain ones win.

    Such objects keep them in (0020,9170) and (0020,9171).
    """
    converted = [item for group in groups[:1] for item in items_of(group, CONVERTED_FRAME)]
    converted += [item for group in shared for item in items_of(group, _CONVERTED_SHARED)]
    if not converted:
        return dataset
    combined = Dataset()
    for part in (*converted, dataset):
        for tag in part.keys():  # noqa: SIM118
            if int(tag) not in _BULK:
                try:
                    combined[tag] = part.get_item(tag)
                except Exception as error:  # a broken element counts as absent
                    raise_machine_failure(error)
    return combined


def corrections_of(dataset: Dataset) -> tuple[str, ...]:
    """(0028,0051) Corrected Image, or what an enhanced PET's flags say in its terms."""
    listed = tuple(text.upper() for text in texts_of(dataset, "CorrectedImage") if text)
    keywords = (("AttenuationCorrected", "ATTN"), ("DecayCorrected", "DECY"))
    flags = {name: text_of(dataset, keyword).upper() for keyword, name in keywords}
    if listed or not any(flags.values()):
        return listed
    # Both flags are of type 1; an object without any correction still says something.
    return tuple(name for name, value in flags.items() if value == "YES") or ("NONE",)


def without_attenuation_correction(dataset: Dataset) -> bool:
    """Whether (0054,1101) Attenuation Correction Method says that there was none."""
    return bool(_NO_METHOD.match(text_of(dataset, "AttenuationCorrectionMethod").strip()))


def _plane(position: Dataset, orientation: Dataset, measures: Dataset, shape: tuple[int, int]) -> Plane:
    return Plane(
        position=numbers_of(position, "ImagePositionPatient"),
        orientation=numbers_of(orientation, "ImageOrientationPatient"),
        spacing_mm=numbers_of(measures, "PixelSpacing"),
        shape=shape,
    )


@dataclass(frozen=True)
class Rescale:
    """Stored to real values: (0028,1053) Slope and (0028,1052) Intercept, or a real world value map's.

    Attributes:
        slope: Slope.
        intercept: Intercept.
        first: Least stored value that it holds for, (0040,9216).
        last: Greatest stored value that it holds for, (0040,9211).
    """

    slope: float
    intercept: float
    first: float = -math.inf
    last: float = math.inf

    def integral(self) -> bool:
        """Whether integers stay integers."""
        return self.slope == int(self.slope) and self.intercept == int(self.intercept)


def rescale_of(dataset: Dataset, pet: bool) -> Rescale | None:
    """The linear rescale of an image or of a frame's transformation; None where it is incomplete.

    Both are of type 1 in CT (PS3.3 C.8.2.1) and PET (C.8.9.4), and a PET's intercept is 0 by
    the standard, so that only this one may be supplied. To assume a slope of 1 or an intercept
    of -1024 would often be right, and go unnoticed where it is wrong.
    """
    slope, intercept = number_of(dataset, "RescaleSlope"), number_of(dataset, "RescaleIntercept")
    if pet and intercept is None and not text_of(dataset, "RescaleIntercept"):
        intercept = 0.0
    return None if slope is None or intercept is None else Rescale(slope, intercept)


@dataclass(frozen=True)
class FrameValues:
    """What the stored values of one frame mean.

    Attributes:
        rescale: Stored to real values; None where the frame has none.
        units: As (0054,1001) would name them; empty if the frame doesn't say.
        suv_type: As (0054,1006).
        more: Further rescales of the same unit, each for a range of stored values of its own.
    """

    rescale: Rescale | None
    units: str = ""
    suv_type: str = ""
    more: tuple[Rescale, ...] = ()


def frame_values(dataset: Dataset) -> list[FrameValues]:
    """The rescale and the units of each frame.

    An enhanced PET names its units in (0040,9096) Real World Value Mapping Sequence; where
    the units are known, it takes precedence over (0028,9145) Pixel Value Transformation Sequence.
    Of several units the one of activity is taken, since an SUV by any formula follows from it.
    """
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    pet = text_of(dataset, "Modality").upper() == "PT"
    if not groups:
        return [FrameValues(rescale_of(dataset, pet), text_of(dataset, "Units").upper())]
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")
    return [_enhanced_values(group, shared, pet) for group in groups]


def _enhanced_values(group: Dataset, shared: list[Dataset], pet: bool) -> FrameValues:
    mapped = _mapped_values(group, shared)
    if mapped is not None:
        return mapped
    transformation = functional_group(group, shared, "PixelValueTransformationSequence")
    kind = text_of(transformation, "RescaleType").upper()
    return FrameValues(rescale_of(transformation, pet), kind if kind in ("BQML", "CNTS", "GML") else "")


def _mapped_values(group: Dataset, shared: list[Dataset]) -> FrameValues | None:
    """The frame's real world value maps of the most useful unit; None where no unit is known."""
    by_unit: dict[str, list[Rescale]] = {}
    for groups in (group, *shared):
        for mapping in items_of(groups, "RealWorldValueMappingSequence"):
            rescale = _mapping(mapping)
            for code in items_of(mapping, "MeasurementUnitsCodeSequence"):
                name = text_of(code, "CodeValue").lower()
                if rescale is not None and name in _UNITS:
                    by_unit.setdefault(name, []).append(rescale)
        if by_unit:
            break
    if not by_unit:
        return None
    name = min(by_unit, key=_BY_USE.index)
    unit = _UNITS[name]
    first, *more = [
        replace(each, slope=each.slope * unit.scale, intercept=each.intercept * unit.scale)
        for each in by_unit[name]
    ]
    return FrameValues(first, unit.units, unit.suv_type, tuple(more))


def _mapping(mapping: Dataset) -> Rescale | None:
    """A linear real world value map with its range (PS3.3 C.7.6.16.2.11); None for a lookup table."""
    slope = number_of(mapping, "RealWorldValueSlope")
    if slope is None:
        return None
    first, last = (
        next((value for value in (number_of(mapping, name) for name in names) if value is not None), None)
        for names in (
            ("DoubleFloatRealWorldValueFirstValueMapped", "RealWorldValueFirstValueMapped"),
            ("DoubleFloatRealWorldValueLastValueMapped", "RealWorldValueLastValueMapped"),
        )
    )
    return Rescale(
        slope,
        number_of(mapping, "RealWorldValueIntercept") or 0.0,
        -math.inf if first is None else first,
        math.inf if last is None else last,
    )
