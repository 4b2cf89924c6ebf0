"""Tracer and uptake time of a PET series, by which one of several is chosen and the chosen one is doubted."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom import dcmread
from pydicom.dataset import Dataset

from pipeline.dicom.header.dicom_time import DAY_S
from pipeline.dicom.header.free_text import shown_text
from pipeline.dicom.header.pet_header import PetHeader
from pipeline.dicom.header.pet_header_reading import merge_headers, slice_header
from pipeline.dicom.header.values import items_of, quiet_reading, text_of
from pipeline.dicom.series.series import Series
from pipeline.settings.base import FreeText
from pipeline.settings.dicom import IndexSettings
from pipeline.tables.failures import raise_machine_failure

# Series whose uptake times differ by less belong to one scan.
_OTHER_SCAN_MINUTES = 10.0
_FDG = re.compile(r"fdg(?!al)|de[sz]?oxy-?d?-?glu[ck]ose|fludeoxyglucose|C-B1031|35321007", re.IGNORECASE)
# Words that name no tracer: the nuclide, or that somebody had to write something.
_NO_TRACER = re.compile(
    r"^\W*((\^?18\^?[ -]*)?(f(lu?ou?rine?)?)([ -]*\^?18\^?)?|glucose|solution|other|unknown|none|n/?a|tracer|pet|)\W*$",
    re.IGNORECASE,
)
_F18 = re.compile(r"C-111A1|77004003|flu?ou?rine?|F\W*18|18\W*F", re.IGNORECASE)


@dataclass(frozen=True)
class PetDetails:
    """What decides between PET series of one patient.

    Attributes:
        uptake_minutes: From injection to the first acquisition; None where the headers don't say.
        tracer: (0018,0031) Radiopharmaceutical or its code, or the nuclide where that alone is named.
        is_fdg: Whether it is FDG; None where the headers don't say.
    """

    uptake_minutes: float | None = None
    tracer: str = ""
    is_fdg: bool | None = None


@dataclass(frozen=True)
class PetRules:
    """What a study expects of its PET.

    Attributes:
        window: Least and greatest uptake time, minutes.
        expects_fdg: Whether another tracer is doubtful.
        free_text: How warnings call a tracer.
    """

    window: tuple[float, float]
    expects_fdg: bool
    free_text: FreeText = "show"

    @staticmethod
    def of(settings: IndexSettings) -> PetRules:
        """The rules of a study."""
        return PetRules(settings.uptake_minutes, settings.expected_tracer == "fdg", settings.free_text)

    def called(self, tracer: str) -> str:
        """A tracer as warnings call it."""
        return repr(shown_text(tracer, self.free_text))

    def rank(self, details: PetDetails) -> tuple[int, int]:
        """Smaller is better: another tracer than expected; how far from the uptake window."""
        return int(self.expects_fdg and details.is_fdg is False), self._off(details.uptake_minutes)

    def _off(self, minutes: float | None) -> int:
        """Tens of minutes outside the window; what is unknown comes last."""
        if minutes is None:
            return 1_000_000
        low, high = self.window
        return round(max(low - minutes, minutes - high, 0.0) / 10)


def details_of(series: Series) -> PetDetails:
    """Read a PET's tracer and uptake time from its first acquired file; empty where it cannot be read."""
    first = min(series.instances, key=lambda instance: instance.acquisition_order)
    with quiet_reading():
        try:
            dataset = dcmread(first.path, stop_before_pixels=True, force=True)
            header = merge_headers([slice_header(dataset)])
            tracer = _tracer(dataset, header)
            return PetDetails(uptake_minutes(header), tracer, _is_fdg(tracer, header))
        except Exception as error:  # index headers may be readable where the rest is broken: convert says it
            raise_machine_failure(error)
            return PetDetails()


def uptake_minutes(header: PetHeader) -> float | None:
    """Minutes from injection to the first acquisition, within a day; None where a time is missing.

    It orders scans of one patient; which time an SUV is corrected to is decided elsewhere.
    """
    times = header.times
    scan = times.first_acquisition or times.series
    if scan is None:
        return None
    if times.injection is not None:
        seconds = scan.seconds_since(times.injection)
    elif times.injection_clock_s is not None:
        seconds = scan.seconds - times.injection_clock_s
    else:
        return None
    return (seconds % DAY_S) / 60.0


def _tracer(dataset: Dataset, header: PetHeader) -> str:
    names = [header.radiopharmaceutical]
    for drug in items_of(dataset, "RadiopharmaceuticalInformationSequence"):
        for code in items_of(drug, "RadiopharmaceuticalCodeSequence"):
            names += [text_of(code, "CodeMeaning"), text_of(code, "CodeValue")]
    named = [name for name in names if not _NO_TRACER.match(name)]
    fdg = [name for name in named if _FDG.search(name)]
    return (fdg or named or list(header.radionuclide[-1:]) or [""])[0]


def _is_fdg(tracer: str, header: PetHeader) -> bool | None:
    if _FDG.search(tracer):
        return True
    nuclide = " ".join(header.radionuclide)
    if nuclide and not _F18.search(nuclide):
        return False
    named = tracer and tracer not in header.radionuclide
    return False if named else None


def pet_warnings(
    chosen: Series, rivals: Sequence[Series], details: Mapping[str, PetDetails], rules: PetRules
) -> list[str]:
    """Warnings of a tracer that the study does not expect, and of PETs at other times after injection.

    Args:
        chosen: The PET in use.
        rivals: Other series that could have been, and were not told from it by a pattern.
        details: tracer and uptake time of all of them, by series UID.
        rules: What the study expects.
    """
    own, warnings = details[chosen.uid], []
    if rules.expects_fdg and own.is_fdg is False:
        warnings.append(
            f"PET: the tracer is {rules.called(own.tracer)} by (0054,0016), where the study expects FDG; set "
            "index.expected_tracer: any if it is meant"
        )
    others = [(series, details[series.uid]) for series in rivals]
    different = sorted({o.tracer for _, o in others if o.tracer and o.tracer != own.tracer})
    if different and own.tracer:
        warnings.append(
            f"PET: series of several tracers, of which {rules.called(own.tracer)} was taken, not "
            + ", ".join(map(rules.called, different))
        )
    times = [
        (series, o.uptake_minutes)
        for series, o in others
        if own.uptake_minutes is not None
        and o.uptake_minutes is not None
        and abs(o.uptake_minutes - own.uptake_minutes) > _OTHER_SCAN_MINUTES
    ]
    if times and own.uptake_minutes is not None:
        low, high = rules.window
        listed = ", ".join(f"{minutes:.0f} min ({series.slices} slices)" for series, minutes in times)
        warnings.append(
            f"PET: scans at several times after injection; {own.uptake_minutes:.0f} min ({chosen.slices} slices) "
            f"was taken, not {listed}; the window is {low:g} to {high:g} min (index.uptake_minutes), name another "
            "by index.prefer_pet"
        )
    return warnings
