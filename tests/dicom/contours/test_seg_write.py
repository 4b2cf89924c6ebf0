"""DICOM SEG out: another reader and our own find the mask again, and nobody's name is in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from pipeline.dicom.contours.seg_masks import segment_masks
from pipeline.dicom.contours.seg_write import write_segmentation
from pipeline.dicom.series.index import index_patient
from pipeline.dicom.series.index_file import chosen, files_of, read_index
from pipeline.dicom.volume.convert import convert_patient
from pipeline.errors import GeometryError
from pipeline.phantoms.headers import PLANTED
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
from pipeline.volumes.nifti import read_grid
from pipeline.volumes.volume import Grid, Volume
from tests.deploy.scans import write_scan


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> tuple[Grid, list[Path]]:
    """Grid and files of a phantom's CT."""
    root = tmp_path_factory.mktemp("ct")
    write_scan(root / "images")
    index_patient(PatientFiles("P", root / "images"), IndexSettings(), root / "index", "stop")
    convert_patient(root / "index", root / "convert", ConvertSettings(), "stop")
    index = read_index(root / "index")
    return read_grid(root / "convert" / "ct_hu.nii.gz"), list(files_of(index, chosen(index, "ct")))


def lopsided(grid: Grid) -> np.ndarray:
    """A mask that looks different from every side."""
    mask = np.zeros(grid.shape, dtype=bool)
    mask[1:5, 3:20, 7:12] = True
    mask[2, 3:6, 12:30] = True
    return mask


def of(mask: np.ndarray, grid: Grid) -> Volume:
    """A mask as a label volume."""
    return Volume(mask.astype(np.uint8), grid, "mask")


def test_classes_are_segments_of_their_own(ct: tuple[Grid, list[Path]], tmp_path: Path) -> None:
    grid, files = ct
    labels = lopsided(grid).astype(np.uint8)
    labels[3:5] *= 2
    labels[2, 10, 10] = 0
    names = ("gtvp (predicted)", "gtvn (predicted)", "absent (predicted)")
    write_segmentation(of(labels, grid), files, tmp_path / "seg.dcm", labels=names)
    written = dcmread(tmp_path / "seg.dcm")
    assert [item.SegmentLabel for item in written.SegmentSequence] == list(names)
    segments = segment_masks(written, [1, 2, 3], grid)
    for label in (1, 2):
        assert np.array_equal(segments[label].mask, labels == label)
    assert not segments[3].mask.any()


def test_our_reader_and_highdicoms_find_the_mask(ct: tuple[Grid, list[Path]], tmp_path: Path) -> None:
    import highdicom

    grid, files = ct
    mask, out = lopsided(grid), tmp_path / "seg.dcm"
    write_segmentation(of(mask, grid), files[::-1], out)
    assert np.array_equal(segment_masks(dcmread(out), [1], grid)[1].mask, mask)
    volume = highdicom.seg.segread(out).get_volume(combine_segments=True)
    placed = np.zeros(grid.shape, dtype=bool)
    index = np.argwhere(volume.array > 0)
    points = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    placed[tuple(np.round(grid.indices(points)).astype(int).T)] = True
    assert np.array_equal(placed, mask)


def test_nobody_is_named_unless_asked_for(ct: tuple[Grid, list[Path]], tmp_path: Path) -> None:
    grid, files = ct
    write_segmentation(of(lopsided(grid), grid), files, tmp_path / "blank.dcm")
    write_segmentation(of(lopsided(grid), grid), files, tmp_path / "whole.dcm", identity=True)
    values = PLANTED.values() if isinstance(PLANTED, dict) else PLANTED
    blank, whole = ((tmp_path / f"{n}.dcm").read_bytes() for n in ("blank", "whole"))
    assert not [value for value in values if str(value).encode() in blank]
    assert [value for value in values if str(value).encode() in whole]
    source, written = dcmread(files[0]), dcmread(tmp_path / "blank.dcm")
    assert written.StudyInstanceUID == source.StudyInstanceUID
    assert written.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert not written.PatientName and not written.PatientID and not written.StudyDate
    assert dcmread(tmp_path / "whole.dcm").PatientID == source.PatientID


def test_what_does_not_fit_is_refused(ct: tuple[Grid, list[Path]], tmp_path: Path) -> None:
    grid, files = ct
    with pytest.raises(GeometryError, match="empty mask"):
        write_segmentation(of(np.zeros(grid.shape, dtype=bool), grid), files, tmp_path / "a.dcm")
    x, y, z = grid.origin_mm
    for origin in ((x + 1.0, y, z), (x, y, z + 500)):
        moved = Grid(grid.shape, grid.spacing_mm, origin, grid.direction)
        with pytest.raises(GeometryError, match="are not the mask's voxels"):
            write_segmentation(of(lopsided(grid), moved), files, tmp_path / "b.dcm")
