"""The images and contours of a patient: from the crop store, from native volumes, or from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import CropError, RadiomicsError
from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.native_pet import (
    FeatureSources,
    ImageGrid,
    NativePet,
    exclusion,
    pet_with_contour,
    pet_with_drawn_contour,
)
from pipeline.store.crops import read_crop as read_stored_crop
from pipeline.store.crops import read_status as read_store_status
from pipeline.tables.status import Status


@dataclass(frozen=True)
class PatientImages:
    """The images of a patient.

    Attributes:
        patient_id: The patient.
        images: Images by modality (`pet`, `ct`); empty where the patient is excluded.
        status: Status of the stage that made them, or why there are no features.
        pet: The native PET, which PET metrics are measured on; None: there is no contour, or the study
            uses the CT alone.
        grids: Where each image lies.
        margin: Voxels of the crop store beyond the crop on each side.
        notes: Warnings about the images.
    """

    patient_id: str
    images: dict[str, FeatureImage]
    status: Status
    pet: NativePet | None = None
    grids: dict[str, ImageGrid] = field(default_factory=dict)
    margin: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def has_contour(self) -> bool:
        """Whether there are images with a contour that features can be taken from."""
        return bool(self.images) and self.status not in (NO_CONTOUR, NOTHING_PREDICTED)


NO_CONTOUR = Status(
    "warned", "radiomics", "the patient has no contour", "no radiomics features; networks are not affected"
)
NOTHING_PREDICTED = Status(
    "warned", "radiomics", "the network found no lesion", "no radiomics features of this contour"
)


def read_images(sources: FeatureSources) -> PatientImages:
    """Images of the crop store or of the native volumes, with the contours as drawn.

    Raises:
        RadiomicsError, GeometryError: As :func:`read_crop` and :func:`read_native`.
    """
    if sources.crop is None:
        return read_native(sources)
    patient = read_crop(sources)
    if not patient.images or patient.status == NO_CONTOUR:
        return patient
    if excluded := exclusion(sources):
        return PatientImages(sources.patient_id, {}, excluded)
    if "pet" not in patient.images:
        return patient
    pet = pet_with_drawn_contour(sources)
    return replace(patient, pet=pet, notes=patient.notes + pet.notes)


def read_predicted(sources: FeatureSources, masks: Path) -> PatientImages:
    """Images of the crop store with the contour that a network predicted on it.

    For development patients the masks must be those of the fold that held the patient out,
    because contours on a network's own training patients are too good. PET metrics are measured
    on the native PET all the same: the contour is carried to its voxels by the transform that the
    crop's attributes hold, the registration of a PET of another frame of reference included.

    Args:
        sources: The patient's files, the crop store among them.
        masks: `masks.zarr` of a fold: an array (Z, Y, X) per patient, on the crop's grid
            without margin.

    Raises:
        RadiomicsError: The patient is not among the masks, or the grids differ.
    """
    import zarr

    assert sources.crop is not None
    group = zarr.open_group(str(masks), mode="r")
    patient = read_crop(sources)
    if not patient.images:
        return patient
    if excluded := exclusion(sources):
        return PatientImages(sources.patient_id, {}, excluded)
    if patient.patient_id not in group:
        raise RadiomicsError("there is no predicted contour of the patient", where=masks.name)
    mask = np.pad(sources.lesion_of(np.asarray(group[patient.patient_id][...])), patient.margin)
    if not mask.any():
        return replace(patient, status=NOTHING_PREDICTED)
    for image in patient.images.values():
        if image.values.shape != mask.shape:
            raise RadiomicsError(
                "a predicted contour does not lie on the crop's grid",
                where=masks.name,
                expected=str(image.values.shape),
                got=str(mask.shape),
            )
    images = {name: replace(image, mask=mask) for name, image in patient.images.items()}
    patient = replace(patient, images=images, status=Status("ok", "radiomics"))
    if "pet" not in images:
        return patient
    pet = pet_with_contour(sources, mask, patient.grids["pet"])
    return replace(patient, pet=pet, notes=patient.notes + pet.notes)


def read_crop(sources: FeatureSources) -> PatientImages:
    """Images of a patient's crop store: a zarr group with `image`, `inside` and, with a contour, `mask`.

    The group's attributes are `status` and, unless the patient is excluded, `crop` (patient_id,
    channels, spacing_mm, margin, crc32 by array). The whole store is used, its
    margin included.

    Raises:
        RadiomicsError: The store is missing, lacks what features need, or an array does not
            match its checksum.
    """
    path = sources.crop
    assert path is not None
    try:
        status = read_store_status(path)
        if status.state == "excluded":
            return PatientImages(path.stem, {}, status)
        crop = read_stored_crop(path)
    except CropError as error:
        raise RadiomicsError(
            error.problem, where=error.where, got=error.got, action="delete it and run the rule `crop` again"
        ) from None
    inside, attributes = crop.inside > 0, crop.attributes
    mask = np.zeros(inside.shape, dtype=bool) if crop.mask is None else sources.lesion_of(crop.mask)
    images = {
        name: FeatureImage(values, mask, inside, attributes.spacing_mm)
        for name, values in zip(attributes.channels, crop.image, strict=True)
    }
    to_pet = attributes.pet_transform or attributes.transform
    place = ImageGrid(attributes.grid(inside.shape), np.asarray(to_pet, dtype=np.float64))
    status = NO_CONTOUR if crop.mask is None else status
    return PatientImages(
        attributes.patient_id, images, status, grids=dict.fromkeys(images, place), margin=attributes.margin
    )


def read_native(sources: FeatureSources) -> PatientImages:
    """Images of the native volumes that the patient has, each with the contour drawn on it.

    Where a contour was drawn on one image only, it is carried to the grid of the other image, with
    a note; through the registration, where the PET has a frame of reference of its own.

    Raises:
        GeometryError: A volume cannot be read, or a contour does not share the grid of its image.
    """
    assert sources.contours is not None
    if excluded := exclusion(sources):
        return PatientImages(sources.patient_id, {}, excluded)
    drawn = [name for name in ("pet", "ct") if (sources.contours / f"gtv_{name}.nii.gz").is_file()]
    if not drawn:
        return PatientImages(sources.patient_id, {}, NO_CONTOUR)
    images: dict[str, FeatureImage] = {}
    grids: dict[str, ImageGrid] = {}
    notes: tuple[str, ...] = ()
    pet = None
    if any(sources.suv.glob("pet_suv*.nii.gz")):
        pet = pet_with_drawn_contour(sources)
        images["pet"], grids["pet"] = pet.image, ImageGrid(pet.grid, np.eye(4))
        notes = pet.notes
    if (sources.convert / "ct_hu.nii.gz").is_file():
        images["ct"], grids["ct"] = _native_ct(sources, drawn)
    carried = tuple(
        f"the {name} has no contour of its own: that of the {drawn[0]} was resampled"
        for name in images
        if name not in drawn
    )
    status = Status("ok", "radiomics")
    return PatientImages(sources.patient_id, images, status, pet, grids, notes=(*carried, *notes))


def _native_ct(sources: FeatureSources, drawn: Sequence[str]) -> tuple[FeatureImage, ImageGrid]:
    """The native CT with the contour drawn on it, or else with the one drawn on the PET."""
    from pipeline.volumes.nifti import read_nifti
    from pipeline.volumes.resample_masks import resample_mask
    from pipeline.volumes.stage_files import CT_IMAGED, imaged_voxels
    from pipeline.volumes.transform import pet_matrix
    from pipeline.volumes.volume import Volume, require_same_grid

    assert sources.contours is not None
    ct = read_nifti(sources.convert / "ct_hu.nii.gz", "ct_hu")
    to_pet = pet_matrix(sources.convert, sources.registration)
    own = read_nifti(sources.contours / f"gtv_{'ct' if 'ct' in drawn else 'pet'}.nii.gz", "mask")
    if "ct" in drawn:
        require_same_grid(ct.grid, own.grid, "ct and its contour")
    lesion = Volume(sources.lesion_of(own.array).astype(np.uint8), own.grid, "mask")
    mask = lesion.array if "ct" in drawn else resample_mask(lesion, ct.grid, to_pet, "linear")
    imaged = imaged_voxels(sources.convert / CT_IMAGED, ct.grid, np.eye(4))
    values = ct.array.astype(np.float32, copy=False)
    return FeatureImage(values, mask > 0, imaged, ct.spacing_mm), ImageGrid(ct.grid, to_pet)


def sources_of(patient_id: str, stages: Sequence[Path], crops: Sequence[Path]) -> FeatureSources:
    """The files of a patient as a rule names them.

    Args:
        patient_id: The patient.
        stages: Folders of convert, suv and contours, and of registration where PETs are registered.
        crops: The crop store; empty: features come from the native volumes.
    """
    convert, suv, contours, *registration = stages
    return FeatureSources(
        patient_id, convert, suv, contours, next(iter(registration), None), next(iter(crops), None)
    )
