"""The images and contours of a patient: from the crop store, from native volumes, or from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import CropError, RadiomicsError
from pipeline.radiomics.images import FeatureImage
from pipeline.store.crops import read_crop as read_checked
from pipeline.store.crops import read_status as read_store_status
from pipeline.tables.status import Status, read_whole


@dataclass(frozen=True)
class NativeSources:
    """What the features of native volumes read.

    Attributes:
        patient_id: The patient.
        convert: Folder of `convert` (the CT).
        suv: Folder of `suv` (the PET).
        contours: Folder of `contours`.
    """

    patient_id: str
    convert: Path
    suv: Path
    contours: Path


@dataclass(frozen=True)
class PatientImages:
    """The images of a patient.

    Attributes:
        patient_id: The patient.
        images: Images by modality (`pet`, `ct`); empty where the patient is excluded.
        status: Status of the stage that made them, or why there are no features.
        contour: Whether the masks hold a contour.
        margin: Voxels of the crop store beyond the crop on each side.
        notes: Warnings about the images.
    """

    patient_id: str
    images: dict[str, FeatureImage]
    status: Status
    contour: bool = False
    margin: int = 0
    notes: tuple[str, ...] = field(default=())


NO_CONTOUR = Status(
    "warned", "radiomics", "the patient has no contour", "no radiomics features; networks are not affected"
)
NOTHING_PREDICTED = Status(
    "warned", "radiomics", "the network found no lesion", "no radiomics features of this contour"
)


def read_crop(path: Path) -> PatientImages:
    """Images of a crop store: a zarr group with `image`, `inside` and, with a contour, `mask`.

    The group's attributes are `status` and, unless the patient is excluded, `crop` (patient_id,
    channels, spacing_mm, margin, crc32 by array). The whole store is used, its
    margin included.

    Raises:
        RadiomicsError: The store is missing, lacks what features need, or an array does not
            match its checksum.
    """
    try:
        status = read_store_status(path)
        if status.state == "excluded":
            return PatientImages(path.stem, {}, status)
        crop = read_checked(path)
    except CropError as error:
        raise RadiomicsError(
            error.problem, where=error.where, got=error.got, action="delete it and run the rule `crop` again"
        ) from None
    inside, attributes = crop.inside > 0, crop.attributes
    mask = np.zeros(inside.shape, dtype=bool) if crop.mask is None else crop.mask > 0
    images = {
        name: FeatureImage(values, mask, inside, attributes.spacing_mm)
        for name, values in zip(attributes.channels, crop.image, strict=True)
    }
    status = NO_CONTOUR if crop.mask is None else status
    return PatientImages(attributes.patient_id, images, status, crop.mask is not None, attributes.margin)


def with_predicted(patient: PatientImages, masks: Path) -> PatientImages:
    """The same images with the contour that a network predicted.

    For development patients the masks must be those of the fold that held the patient out,
    because contours on a network's own training patients are too good.

    Args:
        patient: The images of :func:`read_crop`.
        masks: `masks.zarr` of a fold: an array (Z, Y, X) per patient, on the crop's grid
            without margin.

    Raises:
        RadiomicsError: The patient is not among the masks, or the grids differ.
    """
    import zarr

    group = zarr.open_group(str(masks), mode="r")
    if not patient.images:
        return patient
    if patient.patient_id not in group:
        raise RadiomicsError("there is no predicted contour of the patient", where=masks.name)
    mask = np.pad(np.asarray(group[patient.patient_id][...]) > 0, patient.margin)
    if not mask.any():
        return replace(patient, contour=False, status=NOTHING_PREDICTED)
    for image in patient.images.values():
        if image.values.shape != mask.shape:
            raise RadiomicsError(
                "a predicted contour does not lie on the crop's grid",
                where=masks.name,
                expected=str(image.values.shape),
                got=str(mask.shape),
            )
    images = {name: replace(image, mask=mask) for name, image in patient.images.items()}
    return replace(patient, images=images, contour=True, status=Status("ok", "radiomics"))


def read_native(sources: NativeSources) -> PatientImages:
    """Images of the native volumes, each with the contour drawn on it.

    Where a contour was drawn on one image only, it is resampled to the grid of the other image
    (nearest voxel), with a note. Native volumes have no padding: all voxels count as imaged.

    Raises:
        RadiomicsError: PET and CT lie in different frames of reference, and one has no contour.
        GeometryError: A volume cannot be read, or a contour does not share the grid of its image.
    """
    for folder in (sources.convert, sources.suv, sources.contours):
        status = read_whole(folder)
        if status.state == "excluded":
            return PatientImages(sources.patient_id, {}, status)
    from pipeline.volumes.nifti import read_nifti
    from pipeline.volumes.resample import resample_mask
    from pipeline.volumes.transform import must_register_pet
    from pipeline.volumes.volume import require_same_grid

    volumes = {
        "pet": read_nifti(sources.suv / "pet_suvbw.nii.gz", "pet_suvbw"),
        "ct": read_nifti(sources.convert / "ct_hu.nii.gz", "ct_hu"),
    }
    drawn = {
        name: read_nifti(path, "mask")
        for name in volumes
        if (path := sources.contours / f"gtv_{name}.nii.gz").is_file()
    }
    if not drawn:
        return PatientImages(sources.patient_id, {}, NO_CONTOUR)
    images, notes = {}, []
    for name, volume in volumes.items():
        if name in drawn:
            require_same_grid(volume.grid, drawn[name].grid, f"{name} and its contour")
            mask = drawn[name].array > 0
        else:
            other = next(iter(drawn))
            if must_register_pet(sources.convert):
                raise RadiomicsError(
                    f"the {name} has no contour of its own, and PET and CT lie in different frames of reference",
                    action="draw the contour on both images, or set radiomics.images: crop",
                )
            mask = resample_mask(drawn[other], volume.grid, np.eye(4), "nearest") > 0
            notes.append(f"the {name} has no contour of its own: that of the {other} was resampled")
        values = volume.array.astype(np.float32, copy=False)
        images[name] = FeatureImage(values, mask, np.ones(mask.shape, dtype=bool), volume.spacing_mm)
    return PatientImages(sources.patient_id, images, Status("ok", "radiomics"), True, notes=tuple(notes))


def read_images(source: Path | NativeSources) -> PatientImages:
    """Images of a crop store or of the native volumes.

    Raises:
        RadiomicsError, GeometryError: As :func:`read_crop` and :func:`read_native`.
    """
    return read_native(source) if isinstance(source, NativeSources) else read_crop(source)


def source_of(patient_id: str, inputs: Sequence[Path]) -> Path | NativeSources:
    """The source that the inputs of a rule are: a crop store, or folders of convert, suv and contours."""
    if len(inputs) == 1:
        return inputs[0]
    convert, suv, contours = inputs
    return NativeSources(patient_id, convert, suv, contours)
