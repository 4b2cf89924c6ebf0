"""Whether the chosen PET and CT lie on each other, and whether they cover the same part of the body."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.dicom.series.index_file import PetToCt
from pipeline.dicom.series.selection import coverage
from pipeline.dicom.series.series import Series
from pipeline.errors import DicomError
from pipeline.settings.dicom import IndexSettings

# A CT for attenuation correction covers the whole PET, and lacks at most a slice at each end.
_LEAST_CT_COVERAGE = 0.9


def warn_of_short_images(picked: Mapping[str, Series], settings: IndexSettings, warnings: list[str]) -> None:
    """Warn of a PET much shorter than the CT, or a CT that ends within the PET: a part may be missing."""
    if len(picked) < 2 or picked["pet"].frame != picked["ct"].frame:
        return
    share = coverage(picked["pet"], picked["ct"])
    if share < settings.min_pet_coverage:
        warnings.append(
            f"PET: it covers {100 * share:.0f} % of the length of the CT (index.min_pet_coverage); part of it "
            "may be missing, or be another series"
        )
    share = coverage(picked["ct"], picked["pet"])
    if share < _LEAST_CT_COVERAGE:
        warnings.append(
            f"CT: it covers {100 * share:.0f} % of the length of the PET; part of it may be missing, or be "
            "another series"
        )


def alignment(picked: dict[str, Series], settings: IndexSettings, warnings: list[str]) -> PetToCt:
    """How PET and CT are aligned; without a common (0020,0052) a setting must say."""
    if len(picked) < 2:
        return "alone"
    pet, ct = picked["pet"].frame, picked["ct"].frame
    if pet and pet == ct:
        return "same_frame"
    got = "different frames" if pet and ct else "a series without frame of reference"
    if settings.different_frames == "refuse":
        raise DicomError(
            "PET and CT do not share a frame of reference",
            where="(0020,0052) Frame of Reference UID",
            expected="one frame",
            got=got,
            action="send series of one examination, or set index.different_frames: register (or accept, "
            "if you know that they lie on each other)",
        )
    if settings.different_frames == "register":
        warnings.append(f"PET is to be registered to the CT: (0020,0052) gives {got}")
        return "register"
    warnings.append(f"PET and CT taken as aligned by index.different_frames although (0020,0052) gives {got}")
    return "accepted"
