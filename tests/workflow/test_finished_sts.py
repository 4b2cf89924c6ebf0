"""The finished sarcoma study: PET as in the DICOM, and the few patients told on every figure.

Reads `results/sts` of this checkout (see docs/studies/sts.md).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest

from pipeline.volumes.nifti import read_nifti

ROOT = Path(__file__).resolve().parents[2]
RESULTS, DATA = ROOT / "results" / "sts", ROOT / "data" / "sts"
pytestmark = [
    pytest.mark.finished,
    pytest.mark.skipif(not (RESULTS / "report" / "index.html").exists(), reason="no finished sarcoma study"),
]


def test_pet_values_are_the_dicoms(capsys: pytest.CaptureFixture[str]) -> None:
    """Units GML, SUV type BW: stored values times slope, slice by slice, read by plain pydicom."""
    worst, patients = 0.0, 0
    for folder in sorted(p for p in DATA.iterdir() if p.is_dir()):
        slices = [pydicom.dcmread(p) for p in (folder / "PET" / "image").glob("*.dcm")]
        slices.sort(key=lambda s: float(s.ImagePositionPatient[2]))
        plain = np.stack([s.pixel_array * float(s.RescaleSlope) + float(s.RescaleIntercept) for s in slices])
        made = read_nifti(RESULTS / "suv" / folder.name / "pet_suvbw.nii.gz").array
        worst = max(worst, float((np.abs(made - plain) / np.maximum(np.abs(plain), 1e-6)).max()))
        patients += 1
    with capsys.disabled():
        print(
            f"\n  sarcoma PET against plain pydicom, {patients} patients: relative error {worst:.1e}", end=""
        )
    assert patients == 30
    # Half a unit in the last place of float32.
    assert worst <= 2**-24 * 1.01


def test_every_figure_says_how_few_the_patients_are() -> None:
    figures = list((RESULTS / "report" / "figures").glob("*.svg"))
    assert figures
    for path in figures:
        assert "30 patients" in re.sub(r"<[^>]+>", " ", path.read_text(encoding="utf-8")), path.name


def test_crops_know_what_was_imaged() -> None:
    """The images end 5 cm from the tumour, so a crop of 256 mm is partly not imaged."""
    from pipeline.store.crops import read_crop

    shares = [read_crop(p).inside.mean() for p in sorted((RESULTS / "crops").glob("*.zarr"))]
    assert len(shares) == 30
    assert min(shares) > 0.02 and max(shares) < 1.0
