"""SUV factors of real scanners' headers, against values that others computed."""

import json
import os
from pathlib import Path

import pytest

from pipeline.dicom.header.pet_header import PetHeader, PetSlice
from pipeline.dicom.pet.factor import suv_factor
from pipeline.settings.dicom import SuvSettings

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).resolve().parents[3] / "../shared/data"))
SETS = DATA / "suv_headers"
pytestmark = pytest.mark.skipif(not SETS.is_dir(), reason="the real header sets are not here")


def header_of(entries: list[dict]) -> PetHeader:
    first = entries[0]
    private = {k: float(v) for k, v in first["PhilipsPETPrivateGroup"].items()}
    slices = tuple(
        PetSlice(
            e["AcquisitionDate"], e["AcquisitionTime"], e["FrameReferenceTime"], e["ActualFrameDuration"]
        )
        for e in entries
    )
    return PetHeader(
        slices=slices,
        units=first["Units"],
        decay_correction=first["DecayCorrection"],
        corrected_image=tuple(first["CorrectedImage"]),
        series_date=first["SeriesDate"],
        series_time=first["SeriesTime"],
        weight_kg=first["PatientWeight"],
        total_dose_bq=first["RadionuclideTotalDose"],
        half_life_s=first["RadionuclideHalfLife"],
        injection_time=first["RadiopharmaceuticalStartTime"],
        injection_datetime=first.get("RadiopharmaceuticalStartDateTime", ""),
        philips_suv_factor=private.get("SUVScaleFactor"),
        philips_activity_factor=private.get("ActivityConcentrationScaleFactor"),
    )


@pytest.mark.parametrize(
    "name",
    [
        "SIEMENS",
        "PHILIPS_BQML",
        "PHILIPS_CNTS_AND_BQML_SUV",
        "PHILIPS_CNTS_AND_SUV",
        "BQML_AC_DT_lessThan_S_DT_SIEMENS",
    ],
)
def test_real_headers(name):
    expected = json.loads((SETS / "expected.json").read_text())[name]
    header = header_of(json.loads((SETS / f"{name}.json").read_text()))
    (factor,) = suv_factor(header, SuvSettings()).factors
    assert factor == pytest.approx(expected, rel=1e-6)
