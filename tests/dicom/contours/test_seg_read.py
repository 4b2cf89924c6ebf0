"""DICOM SEG: objects of another tool against its own volumes, and made ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from pipeline.dicom.contours.contours import ContourSources, contours_patient
from pipeline.dicom.contours.roi import ContourFile, ImageSeries
from pipeline.dicom.contours.seg_masks import segment_masks
from pipeline.dicom.contours.seg_read import seg_rois
from pipeline.errors import ContourError, GeometryError
from pipeline.settings.dicom import ContourSettings
from pipeline.volumes.nifti import grid_of, read_grid, read_nifti
from pipeline.volumes.volume import Grid
from tests.dicom.contours.contour_helpers import CT, DATA, patient

DCMQI = DATA / "dicom_seg/dcmqi"
needs_data = pytest.mark.skipif(not DCMQI.is_dir(), reason="shared data not present")


def labels(name):
    """A volume that dcmqi itself wrote, on the grid it gives."""
    image = sitk.ReadImage(str(DCMQI / name))
    return sitk.GetArrayFromImage(image), grid_of(image)


def ct_grid():
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DCMQI / "ct-3slice")))
    return grid_of(reader.Execute())


@needs_data
def test_a_binary_object_equals_dcmqis_volume():
    expected, _ = labels("liver_seg.nrrd")
    masks = segment_masks(dcmread(DCMQI / "liver.dcm"), [1], ct_grid())
    assert expected.sum() > 1000 and np.array_equal(masks[1].mask, expected == 1)


@needs_data
def test_overlapping_segments_equal_dcmqis_three_volumes():
    # dcmqi spreads segments that overlap over three label volumes: {1, 4, 5}, {2}, {3}.
    volumes = [labels(f"partial_overlaps-{n}.nrrd")[0] for n in (1, 2, 3)]
    expected = {n: volumes[v] == n for v, ns in enumerate([(1, 4, 5), (2,), (3,)]) for n in ns}
    masks = segment_masks(dcmread(DCMQI / "partial_overlaps.dcm"), [1, 2, 3, 4, 5], ct_grid())
    for number, mask in expected.items():
        assert mask.any() and np.array_equal(masks[number].mask, mask), number
    assert (masks[1].mask & masks[2].mask).any() or (masks[2].mask & masks[3].mask).any()


@needs_data
def test_a_sparse_label_map_equals_dcmqis_volume():
    # Two of three slices, 38 × 24 pixels: a part of the plane.
    expected, grid = labels("sparse_labelmap_noppv_seg.nrrd")
    masks = segment_masks(dcmread(DCMQI / "sparse-labelmap-noppv.dcm"), [1], grid)
    assert np.array_equal(masks[1].mask, expected == 1)
    wider = Grid((7, 60, 50), grid.spacing_mm, tuple(grid.points([-2, -10, -5])[0]), grid.direction)
    placed = segment_masks(dcmread(DCMQI / "sparse-labelmap-noppv.dcm"), [1], wider)[1].mask
    assert np.array_equal(placed[2:5, 10:48, 5:29], expected == 1) and placed.sum() == expected.sum()


@needs_data
def test_an_object_that_no_memory_holds_is_refused_before_it_is_unpacked():
    dataset = dcmread(DCMQI / "liver.dcm")
    dataset.Rows = dataset.Columns = 65535
    with pytest.raises(ContourError, match="too large.*65535"):
        segment_masks(dataset, [1], ct_grid())


@needs_data
def test_another_reader_agrees():
    highdicom = pytest.importorskip("highdicom")
    seg = highdicom.seg.segread(DCMQI / "partial_overlaps.dcm")
    sops = [
        str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)
        for path in sorted((DCMQI / "ct-3slice").iterdir(), reverse=True)
    ]
    theirs = seg.get_pixels_by_source_instance(
        sops,
        segment_numbers=[1, 2, 3, 4, 5],
        assert_missing_frames_are_empty=True,
        ignore_spatial_locations=True,
    )
    ours = segment_masks(dcmread(DCMQI / "partial_overlaps.dcm"), [1, 2, 3, 4, 5], ct_grid())
    for number in range(1, 6):
        assert np.array_equal(ours[number].mask, theirs[..., number - 1].astype(bool))


@needs_data
def test_segments_are_chosen_by_label_and_belong_by_reference():
    grid = ct_grid()
    series = str(dcmread(next((DCMQI / "ct-3slice").iterdir()), stop_before_pixels=True).SeriesInstanceUID)
    file = ContourFile(DCMQI / "partial_overlaps.dcm", "SEG 1 of 1")
    rois = seg_rois(file, ["tissue"], {"ct": ImageSeries(grid, series, "1.1")}, ContourSettings())
    assert len(rois.masks) == 4 and len(rois.names) == 5 and not rois.unused
    assert {roi.match.matched_by for roi in rois.masks} == {"referenced series"}
    rois = seg_rois(file, ["tissue"], {"ct": ImageSeries(grid, "9.9", "1.1")}, ContourSettings())
    assert not rois.masks and "refer neither" in rois.unused[0]
    frame = str(dcmread(file.path).FrameOfReferenceUID)
    rois = seg_rois(file, ["tissue"], {"ct": ImageSeries(grid, "9.9", frame)}, ContourSettings())
    assert not rois.masks and "not in use" in rois.unused[0]
    place = ContourSettings(other_image="place")
    rois = seg_rois(file, ["tissue"], {"ct": ImageSeries(grid, "9.9", frame)}, place)
    assert {roi.match.matched_by for roi in rois.masks} == {"frame of reference and voxels"}
    assert seg_rois(file, ["gtv*"], {"ct": ImageSeries(grid, series, frame)}, place).masks == ()


@needs_data
def test_another_grid_is_refused_with_both_geometries():
    grid = ct_grid()
    dataset = dcmread(DCMQI / "liver.dcm")
    moved = Grid(grid.shape, grid.spacing_mm, (grid.origin_mm[0] + 0.4, *grid.origin_mm[1:]), grid.direction)
    with pytest.raises(GeometryError, match="do not fall on the voxels") as caught:
        segment_masks(dataset, [1], moved)
    assert moved.describe() in str(caught.value) and "0.8105" in str(caught.value)
    with pytest.raises(GeometryError, match="beyond its image"):
        segment_masks(dataset, [1], Grid((2, 512, 512), grid.spacing_mm, grid.origin_mm, grid.direction))


def made(kind="FRACTIONAL"):
    """A 2-frame fractional object of 4 × 5 pixels, written by hand."""
    from pydicom import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality, dataset.SegmentationType = "SEG", kind
    dataset.MaximumFractionalValue = 200
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 4, 5, 2
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    pixels = np.zeros((2, 4, 5), np.uint8)
    pixels[0, 1, 1:4] = 99, 100, 101
    pixels[1, 2, 2] = 200
    dataset.PixelData = pixels.tobytes()
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [2.0, 1.0]
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    frames = []
    for z in (6.0, 3.0):
        frame, position, segment = Dataset(), Dataset(), Dataset()
        position.ImagePositionPatient = [10.0, 20.0, z]
        segment.ReferencedSegmentNumber = 1
        frame.PlanePositionSequence, frame.SegmentIdentificationSequence = [position], [segment]
        frames.append(frame)
    dataset.PerFrameFunctionalGroupsSequence = frames
    return dataset


def test_a_fraction_counts_from_above_one_half_of_its_maximum():
    grid = Grid((3, 4, 5), (3.0, 2.0, 1.0), (10.0, 20.0, 0.0))
    mask = segment_masks(made(), [1], grid)[1].mask
    assert np.argwhere(mask).tolist() == [[1, 2, 2], [2, 1, 3]]


def test_the_image_may_run_along_other_axes():
    # A sagittal volume (slices along x) of the same voxels.
    rows = ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    grid = Grid((5, 3, 4), (1.0, 3.0, 2.0), (10.0, 20.0, 0.0), rows)
    mask = segment_masks(made(), [1], grid)[1].mask
    assert np.argwhere(mask).tolist() == [[2, 1, 2], [3, 2, 1]]


def test_damaged_objects_are_refused(tmp_path):
    grid = Grid((3, 4, 5), (3.0, 2.0, 1.0), (10.0, 20.0, 0.0))
    with pytest.raises(ContourError, match="unknown type"):
        segment_masks(made("SURFACE"), [1], grid)
    short = made()
    short.PixelData = short.PixelData[:20]
    with pytest.raises(ContourError, match="cannot be decoded"):
        segment_masks(short, [1], grid)
    unscaled = made()
    del unscaled.MaximumFractionalValue  # type 1C, PS3.3 C.8.20.2: 255 would be a guess
    with pytest.raises(ContourError, match="which value means 1"):
        segment_masks(unscaled, [1], grid)
    lacking = made()
    lacking.PerFrameFunctionalGroupsSequence = list(lacking.PerFrameFunctionalGroupsSequence)[:1]
    with pytest.raises(ContourError, match="another number of frames"):
        segment_masks(lacking, [1], grid)
    unplaced = made()
    del unplaced.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    with pytest.raises(ContourError, match="lacks its position"):
        segment_masks(unplaced, [1], grid)
    (tmp_path / "a.dcm").write_bytes(b"no")
    with pytest.raises(ContourError, match=r"cannot be read|not a DICOM SEG"):
        seg_rois(
            ContourFile(tmp_path / "a.dcm", "SEG 1 of 1"), ["*"], {"ct": ImageSeries(grid)}, ContourSettings()
        )


def with_segments(path, segments, heights=(6.0, 3.0)):
    """Masks of GTV* of a file with the object above; segments by (number, label, description)."""
    dataset = made()
    dataset.SegmentSequence = []
    for number, label, description in segments:
        item = Dataset()
        item.SegmentNumber, item.SegmentLabel, item.SegmentDescription = number, label, description
        dataset.SegmentSequence.append(item)
    for frame, z in zip(dataset.PerFrameFunctionalGroupsSequence, heights, strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = [10.0, 20.0, z]
    pixels = np.full((2, 4, 5), 200, np.uint8)
    dataset.PixelData, dataset.FrameOfReferenceUID = pixels.tobytes(), "1.1"
    dataset.save_as(path, implicit_vr=False, little_endian=True)
    grid = Grid((4, 4, 5), (3.0, 2.0, 1.0), (10.0, 20.0, 0.0))
    images = {"ct": ImageSeries(grid, "", "1.1")}
    return seg_rois(ContourFile(path, "SEG 1 of 1"), ["GTV*"], images, ContourSettings())


@pytest.mark.parametrize(
    ("segments", "got"),
    [
        ([(1, "Liver", ""), (1, "GTV", "")], "several segments of number 1"),
        ([(2, "GTV", "")], "frames of segment 1"),
    ],
)
def test_segments_that_cannot_be_told_apart_are_refused(tmp_path, segments, got):
    with pytest.raises(ContourError, match=got):
        with_segments(tmp_path / "a.dcm", segments)


def test_a_description_counts_only_where_no_label_matches(tmp_path):
    both = with_segments(tmp_path / "a.dcm", [(1, "GTV", "tumour"), (2, "Liver", "GTV excluded")])
    assert [roi.name for roi in both.masks] == ["GTV"]
    (roi,) = with_segments(tmp_path / "b.dcm", [(1, "Segment 1", "GTV")]).masks
    assert any("by its description" in text for text in roi.warnings)


def test_empty_slices_between_filled_ones_and_a_segment_without_image_are_told(tmp_path):
    (whole,) = with_segments(tmp_path / "a.dcm", [(1, "GTV", "")]).masks
    assert not any("are empty" in text for text in whole.warnings)
    assert any("names no image" in text for text in whole.warnings)
    (torn,) = with_segments(tmp_path / "b.dcm", [(1, "GTV", "")], (9.0, 3.0)).masks
    assert any("1 slices between filled ones are empty" in text for text in torn.warnings)


def test_segments_become_a_patients_mask(tmp_path):
    dataset = made()
    series, segment = Dataset(), Dataset()
    series.SeriesInstanceUID = CT
    dataset.ReferencedSeriesSequence = [series]
    segment.SegmentNumber, segment.SegmentLabel = 1, "Neoplasm"
    dataset.SegmentSequence = [segment]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [1.0, 1.0]
    for frame, z in zip(dataset.PerFrameFunctionalGroupsSequence, (103.0, 106.0), strict=True):
        frame.PlanePositionSequence[0].ImagePositionPatient = [-10.0, -20.0, z]
    dataset.save_as(tmp_path / "s.dcm")
    sources = replace(patient(tmp_path, segs=[tmp_path / "s.dcm"]), roi="neoplasm")
    contours_patient(sources, tmp_path / "out", ContourSettings(), "stop")
    mask = read_nifti(tmp_path / "out/gtv_ct.nii.gz")
    # Frame pixels (row, column) (1, 3) and (2, 2); the first frame's corner is voxel (1, 10, 10).
    assert np.argwhere(mask.array).tolist() == [[1, 11, 13], [2, 12, 12]]


@pytest.mark.nightly
@pytest.mark.skipif(not DCMQI.is_dir(), reason="shared data not present")
def test_eleven_tumours_of_a_whole_body_pet(tmp_path):
    # QIN-HEADNECK: SUVmax 20.83 in segment 1 with the factor 4.0166e-4 (shared data README).
    import tarfile

    from pipeline.dicom.series.index import index_patient
    from pipeline.dicom.volume.convert import convert_patient
    from pipeline.settings.dicom import ConvertSettings, IndexSettings
    from pipeline.tables.files import PatientFiles
    from pipeline.tables.status import Status, write_status

    with tarfile.open(DATA / "dicom_seg/QIN-HEADNECK-01-0139.tar.xz") as archive:
        archive.extractall(tmp_path / "dicom", filter="data")
    settings = IndexSettings(modalities=("pet",))
    index_patient(PatientFiles("Q", tmp_path / "dicom"), settings, tmp_path / "index", "stop")
    convert_patient(tmp_path / "index", tmp_path / "convert", ConvertSettings(), "stop")
    write_status(tmp_path / "suv", Status("ok", "suv"))
    sources = ContourSources("Q", tmp_path / "index", tmp_path / "convert", tmp_path / "suv", "*")
    contours_patient(sources, tmp_path / "out", ContourSettings(keep_rois=True), "stop")
    stored = read_nifti(tmp_path / "convert/pet_stored.nii.gz").array
    first = read_nifti(tmp_path / "out/roi_pet_1.nii.gz")
    assert float(stored[first.array > 0].max()) * 4.0166e-4 == pytest.approx(20.83, abs=0.01)
    assert len(list((tmp_path / "out").glob("roi_pet_*.nii.gz"))) == 11
    assert read_grid(tmp_path / "out/gtv_pet.nii.gz").shape[0] == 545
