"""One DICOM file as the index knows it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from pipeline.dicom.header.frames import (
    corrections_of,
    functional_group,
    planes_of,
    without_attenuation_correction,
)
from pipeline.dicom.header.geometry import Plane
from pipeline.dicom.header.values import integer_of, items_of, number_of, text_of, texts_of


@dataclass(frozen=True, order=True)
class AcquisitionOrder:
    """What orders images at one position.

    Attributes:
        acquired: Acquisition date and time as written.
        trigger_time: (0018,1060) Trigger Time.
        frame_reference_time: (0054,1300) Frame Reference Time.
        instance_number: (0020,0013) Instance Number.
    """

    acquired: str = ""
    trigger_time: float = 0.0
    frame_reference_time: float = 0.0
    instance_number: float = 0.0


@dataclass(frozen=True)
class SliceTiming:
    """What a PET slice says of its own frame; None where it doesn't.

    Attributes:
        reference_ms: (0054,1300) Frame Reference Time.
        duration_ms: (0018,1242) Actual Frame Duration.
        decay_factor: (0054,1321) Decay Factor.
    """

    reference_ms: float | None = None
    duration_ms: float | None = None
    decay_factor: float | None = None


@dataclass(frozen=True)
class Instance:
    """What the index needs of one file; identifiers stay in memory or under `index/`.

    Attributes:
        path: The file.
        sop_class_uid: (0008,0016).
        sop_instance_uid: (0008,0018).
        series_uid: (0020,000E).
        study_uid: (0020,000D).
        frame_of_reference_uid: (0020,0052); of an RTSTRUCT the one its contours are drawn in.
        modality: (0008,0060).
        patient_key: (0010,0020) Patient ID, used in comparisons only.
        study_datetime: Study date and time as written.
        series_datetime: Series date and time as written.
        description: (0008,103E).
        image_type: (0008,0008).
        corrected: (0028,0051) Corrected Image; for enhanced PET, derived from its flags.
        kernel: (0018,1210).
        kvp: (0018,0060), in kV; None where it is absent.
        rescale_types: (0028,1054), of each frame's transformation in a multi-frame object; empty where absent.
        sent_as: Other series UIDs under which the series of the instance was sent again.
        units: (0054,1001).
        series_type: (0054,1000).
        planes: One per frame.
        acquisition_order: The image's place among those at its position.
        references: Series that an RTSTRUCT or a SEG belongs to.
        decay_correction: (0054,1102).
        number_of_slices: (0054,0081) Number of Slices; 0 where it is absent.
        frames_acquired: (0018,9074) Frame Acquisition DateTime of each frame; empty for one image a file.
        timing: Frame times and decay factor of a PET slice.
        unattenuated: Whether (0054,1101) Attenuation Correction Method says that there was none.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    modality: str
    patient_key: str
    study_datetime: str
    series_datetime: str
    description: str
    image_type: tuple[str, ...]
    corrected: tuple[str, ...]
    kernel: str
    units: str
    series_type: tuple[str, ...]
    planes: tuple[Plane, ...]
    acquisition_order: AcquisitionOrder = AcquisitionOrder()
    references: tuple[str, ...] = ()
    decay_correction: str = ""
    number_of_slices: int = 0
    frames_acquired: tuple[str, ...] = ()
    timing: SliceTiming = SliceTiming()
    kvp: float | None = None
    rescale_types: tuple[str, ...] = ()
    sent_as: tuple[str, ...] = ()
    unattenuated: bool = False


def instance_of(path: Path, dataset: Dataset) -> Instance:
    """What the index needs of a file whose headers were read."""
    modality = text_of(dataset, "Modality").upper()
    return Instance(
        path=path,
        sop_class_uid=text_of(dataset, "SOPClassUID"),
        sop_instance_uid=text_of(dataset, "SOPInstanceUID"),
        series_uid=text_of(dataset, "SeriesInstanceUID"),
        study_uid=text_of(dataset, "StudyInstanceUID"),
        frame_of_reference_uid=text_of(dataset, "FrameOfReferenceUID") or _contour_frame(dataset),
        modality=modality,
        patient_key=text_of(dataset, "PatientID"),
        study_datetime=text_of(dataset, "StudyDate") + text_of(dataset, "StudyTime"),
        series_datetime=text_of(dataset, "SeriesDate") + text_of(dataset, "SeriesTime"),
        description=text_of(dataset, "SeriesDescription"),
        image_type=tuple(t.upper() for t in texts_of(dataset, "ImageType")),
        corrected=corrections_of(dataset),
        kernel=text_of(dataset, "ConvolutionKernel"),
        units=text_of(dataset, "Units").upper(),
        series_type=tuple(t.upper() for t in texts_of(dataset, "SeriesType")),
        planes=planes_of(dataset) if modality in ("CT", "PT", "MR", "NM") else (),
        acquisition_order=_acquisition_order(dataset),
        references=_references(dataset),
        decay_correction=text_of(dataset, "DecayCorrection").upper(),
        number_of_slices=integer_of(dataset, "NumberOfSlices") or 0,
        frames_acquired=_frames_acquired(dataset),
        timing=_timing(dataset) if modality == "PT" else SliceTiming(),
        kvp=number_of(dataset, "KVP"),
        rescale_types=rescale_types(dataset) if modality == "CT" else (),
        unattenuated=without_attenuation_correction(dataset),
    )


def rescale_types(dataset: Dataset) -> tuple[str, ...]:
    """(0028,1054) *Rescale Type* of a file or of each frame's transformation, without repeats; empty where absent."""
    shared = items_of(dataset, "SharedFunctionalGroupsSequence")
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    name = "PixelValueTransformationSequence"
    where = [dataset, *(functional_group(group, shared, name) for group in groups)]
    return tuple(sorted({text_of(each, "RescaleType").upper() for each in where} - {""}))


def _timing(dataset: Dataset) -> SliceTiming:
    return SliceTiming(
        number_of(dataset, "FrameReferenceTime"),
        number_of(dataset, "ActualFrameDuration"),
        number_of(dataset, "DecayFactor"),
    )


def _acquisition_order(dataset: Dataset) -> AcquisitionOrder:
    return AcquisitionOrder(
        acquired=_acquired(dataset),
        trigger_time=number_of(dataset, "TriggerTime") or 0.0,
        frame_reference_time=number_of(dataset, "FrameReferenceTime") or 0.0,
        instance_number=number_of(dataset, "InstanceNumber") or 0.0,
    )


def _acquired(dataset: Dataset) -> str:
    time = text_of(dataset, "AcquisitionTime")
    return text_of(dataset, "AcquisitionDate") + time if time else text_of(dataset, "AcquisitionDateTime")


def _frames_acquired(dataset: Dataset) -> tuple[str, ...]:
    groups = items_of(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items_of(dataset, "SharedFunctionalGroupsSequence") if groups else []
    contents = (functional_group(group, shared, "FrameContentSequence") for group in groups)
    return tuple(text_of(content, "FrameAcquisitionDateTime") for content in contents)


def _contour_frame(dataset: Dataset) -> str:
    for item in items_of(dataset, "ReferencedFrameOfReferenceSequence"):
        return text_of(item, "FrameOfReferenceUID")
    return ""


def _references(dataset: Dataset) -> tuple[str, ...]:
    series = [text_of(s, "SeriesInstanceUID") for s in items_of(dataset, "ReferencedSeriesSequence")]
    for frame in items_of(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items_of(frame, "RTReferencedStudySequence"):
            series += [text_of(s, "SeriesInstanceUID") for s in items_of(study, "RTReferencedSeriesSequence")]
    return tuple(dict.fromkeys(uid for uid in series if uid))
