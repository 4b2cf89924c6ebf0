"""Slopes, intercepts, pixel types, UIDs and times of single files changed, one legal value after the other.

The SUV of every voxel must be what the changed files say, refused or told: computed here from the files alone
(PS3.3 C.7.6.3, C.11.1.1: stored × slope + intercept; SUVbw by weight, dose and decay).
"""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from pipeline.dicom.pet.suv import suv_patient
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.settings.dicom import ConvertSettings, IndexSettings, SuvSettings
from pipeline.tables.files import PatientFiles
from pipeline.tables.status import read_status
from pipeline.volumes.nifti import read_nifti
from tests.dicom.write_dicom import Recipe, write_series

FACTOR = 70_000 / 350e6 * 2 ** (3600 / 6586.2)
INDEX = IndexSettings(modalities=("pet",), min_slices=2)
SLICES, SILENT = 8, 0.01
VENDORS = ("GE MEDICAL SYSTEMS", "SIEMENS", "Philips Medical Systems", "UIH", "CANON_MEC")


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A body of SUV 1 in air, a lesion of SUV 8; each slice has its own slope."""
    values = np.zeros((SLICES, 16, 16))
    values[:, 2:14, 2:14], values[3:5, 6:9, 6:9] = 1.0, 8.0
    recipe = Recipe("PT", (4.0, 4.0, 4.0), slope=1.0, intercept=0.0, description="pet")

    def own_slope(ds, number):
        slope = 0.9 + 0.02 * number
        ds.RescaleSlope = f"{slope:.6g}"
        ds.PixelData = np.rint(values[number] / FACTOR / slope).astype(np.uint16).tobytes()
        ds.NumberOfSlices = SLICES

    blank = np.zeros(values.shape, np.uint16)
    return write_series(tmp_path_factory.mktemp("sound") / "pet", blank, recipe, own_slope)


def scaled(ds, draw):
    ds.RescaleSlope = f"{float(ds.RescaleSlope) * draw.choice([0.5, 0.98, 1.03, 2.0, 10.0]):.6g}"


CHANGES = {
    "slope of every slice": (True, scaled),
    "slope of one slice": (False, scaled),
    "no slope": (False, lambda ds, draw: ds.pop("RescaleSlope")),
    "two slopes": (False, lambda ds, draw: setattr(ds, "RescaleSlope", ["1", "2"])),
    "slope 0 or negative": (False, lambda ds, draw: setattr(ds, "RescaleSlope", draw.choice(["0", "-1"]))),
    "intercept": (True, lambda ds, draw: setattr(ds, "RescaleIntercept", draw.choice(["-1024", "500", "0.5"]))),
    "intercept of one": (False, lambda ds, draw: setattr(ds, "RescaleIntercept", draw.choice(["-300", "900"]))),
    "pixels signed": (True, lambda ds, draw: setattr(ds, "PixelRepresentation", 1)),
    "bits stored": (True, lambda ds, draw: (setattr(ds, "BitsStored", 12), setattr(ds, "HighBit", 11))),
    "bits of one": (False, lambda ds, draw: (setattr(ds, "BitsStored", 12), setattr(ds, "HighBit", 11))),
    "series uid of one": (False, lambda ds, draw: setattr(ds, "SeriesInstanceUID", generate_uid())),
    "study uid of one": (False, lambda ds, draw: setattr(ds, "StudyInstanceUID", generate_uid())),
    "frame uid of one": (False, lambda ds, draw: setattr(ds, "FrameOfReferenceUID", generate_uid())),
    "frame uid of all": (True, lambda ds, draw: setattr(ds, "FrameOfReferenceUID", "1.2.3.4")),
    "sop uid of one": (False, lambda ds, draw: setattr(ds, "SOPInstanceUID", generate_uid())),
    "sop uid of another": (False, lambda ds, draw: setattr(ds, "SOPInstanceUID", f"{ds.SeriesInstanceUID}.1")),
    "class of one": (False, lambda ds, draw: setattr(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.2")),
    "position of one": (
        False,
        lambda ds, draw: setattr(
            ds, "ImagePositionPatient", [*list(ds.ImagePositionPatient)[:2], draw.choice([40.0, 43.0, 300.0])]
        ),
    ),
    "spacing of one": (False, lambda ds, draw: setattr(ds, "PixelSpacing", ["5", "5"])),
    "number of slices": (True, lambda ds, draw: setattr(ds, "NumberOfSlices", draw.choice([4, 16, 47]))),
    "instance number": (True, lambda ds, draw: setattr(ds, "InstanceNumber", draw.choice([1, 99]))),
    "weight of one": (False, lambda ds, draw: setattr(ds, "PatientWeight", "80")),
    "units of one": (False, lambda ds, draw: setattr(ds, "Units", "CNTS")),
    "time of one": (
        False, lambda ds, draw: setattr(ds, "AcquisitionTime", draw.choice(["100200", "113000", "020000"]))
    ),
    "dose and weight": (True, lambda ds, draw: setattr(ds, "PatientWeight", draw.choice(["60", "90", "7"]))),
    "padding": (True, lambda ds, draw: ds.add_new(0x00280120, "US", draw.choice([0, 65535, 3424]))),
    "vendor": (True, lambda ds, draw: setattr(ds, "Manufacturer", draw.choice(VENDORS))),
}  # fmt: skip


def as_the_files_say(folder):
    """SUV (z, y, x) of the files that are one stack, from their own values alone; None where they are none."""
    files = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    files.sort(key=lambda ds: float(ds.ImagePositionPatient[2]))
    stack = []
    for ds in files:
        bits = int(ds.BitsStored)
        stored = np.frombuffer(ds.PixelData, np.uint16).astype(np.int64) & (2**bits - 1)
        if ds.PixelRepresentation:
            stored = np.where(stored >= 2 ** (bits - 1), stored - 2**bits, stored)
        activity = stored * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        stack.append(activity * float(ds.PatientWeight) * 1000 / 350e6 * 2 ** (3600 / 6586.2))
    return np.reshape(stack, (len(files), 16, 16))


def outcome(sound, folder, seed):
    draw = random.Random(seed)
    name = draw.choice(list(CHANGES))
    every, change = CHANGES[name]
    shutil.copytree(sound, folder / "in")
    files = sorted((folder / "in").iterdir())
    vendor = draw.choice(VENDORS)
    state = draw.getstate()
    chosen = draw.randrange(len(files))
    for number, path in enumerate(files):
        ds = pydicom.dcmread(path)
        ds.Manufacturer = vendor
        draw.setstate(state)  # the same value in every slice
        if every or number == chosen:
            change(ds, draw)
        ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
        ds.save_as(path)
    index_patient(PatientFiles("P1", folder / "in"), INDEX, folder / "index", "exclude")
    convert_patient(folder / "index", folder / "convert", ConvertSettings(), "exclude")
    suv_patient(folder / "convert", folder / "suv", SuvSettings(), "exclude")
    if read_status(folder / "suv").state == "excluded":
        return name, "refused"
    states = [read_status(folder / stage).state for stage in ("index", "convert", "suv")]
    account = json.loads((folder / "suv" / "suv.json").read_text())
    if "warned" in states or account["flags"]:
        return name, "told"
    suv = read_nifti(folder / "suv" / "pet_suvbw.nii.gz").array
    expected = as_the_files_say(folder / "in")
    same = suv.shape == expected.shape and np.allclose(suv, expected, rtol=SILENT, atol=1e-3)
    return name, "right" if same else "wrong"


def outcomes(sound, folder, seeds):
    counts, wrong = Counter(), []
    for seed in seeds:
        name, result = outcome(sound, folder / str(seed), seed)
        counts[result] += 1
        wrong += [(seed, name)] if result == "wrong" else []
        shutil.rmtree(folder / str(seed))
    return counts, wrong


def test_eighty_changed_series(sound, tmp_path):
    counts, wrong = outcomes(sound, tmp_path, range(80))
    assert not wrong, wrong
    assert min(counts["refused"], counts["told"], counts["right"]) > 3, counts


@pytest.mark.nightly
def test_a_thousand_changed_series(sound, tmp_path):
    counts, wrong = outcomes(sound, tmp_path, range(1000, 2000))
    assert not wrong, (wrong[:10], counts)
