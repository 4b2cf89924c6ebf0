"""Indexes a folder for the tests of series."""

from pathlib import Path

from pipeline.dicom.series.index import index_patient
from pipeline.dicom.series.index_file import read_index
from pipeline.settings.dicom import IndexSettings
from pipeline.tables.files import PatientFiles


def index(folder, out, **settings):
    index_patient(PatientFiles("P1", Path(folder)), IndexSettings(**settings), out, "stop")
    return read_index(out)


def reason_of(series_index, description):
    (row,) = [row for row in series_index.series if row.description == description]
    assert not row.chosen
    return row.reason
