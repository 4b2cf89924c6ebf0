"""Converts a folder for the tests of volumes, and changes the slices of written series."""

from pipeline.dicom.series.index import index_patient
from pipeline.dicom.volume.convert import convert_patient
from pipeline.dicom.volume.read import read_series
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_nifti

CT_ONLY = IndexSettings(modalities=("ct",), min_slices=2)


def convert(folder, out, index=CT_ONLY, settings=None):
    index_patient(PatientFiles("P1", folder), index, out / "index", "stop")
    convert_patient(out / "index", out / "convert", settings or ConvertSettings(), "stop")
    return out / "convert"


def ct_of(folder):
    return read_nifti(folder / "ct_hu.nii.gz", "ct_hu")


def read_as_ct(folder):
    """The volume of a folder's files, whether or not its values are a patient's."""
    return read_series(sorted(folder.iterdir()), "ct_hu", ConvertSettings(), lambda dataset: None).volume


def drop(numbers):
    def after(folder):
        for number in numbers:
            (folder / f"{number:03d}.dcm").unlink()

    return after


def moved(shift):
    """An edit that moves slices: `shift(number)` mm in x, y, z."""

    def edit(ds, number):
        ds.ImagePositionPatient = [
            float(p) + s for p, s in zip(ds.ImagePositionPatient, shift(number), strict=True)
        ]

    return edit
