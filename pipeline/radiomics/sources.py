"""A patient's images and contours: from the crop store, from native volumes, from a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.errors import CropError, RadiomicsError
from pipeline.radiomics.images import FeatureImage
from pipeline.store.crops import read_crop as read_checked
from pipeline.store.crops import read_status as read_store_status
from pipeline.tables.status import Status, read_status


@dataclass(frozen=True)
class NativeSources:
    """What features of native volumes read.

    Attributes:
        patient_id: Names the patient.
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
    """A patient's pictures.

    Attributes:
        patient_id: Whose.
        pictures: By modality (`pet`, `ct`); empty where the patient is excluded.
        status: Of the stage that made them, or why there are no features.
        contour: Whether the pictures' masks hold one.
        margin: Voxels of the crop store beyond the crop on each side.
        notes: What is to be told of them.
    """

    patient_id: str
    pictures: dict[str, FeatureImage]
    status: Status
    contour: bool = False
    margin: int = 0
    notes: tuple[str, ...] = field(default=())


NO_CONTOUR = Status(
    "warned", "radiomics", "the patient has no contour", "no radiomics features; networks are not affected"
)
NOTHING_FOUND = Status(
    "warned", "radiomics", "the network found no lesion", "no radiomics features of this contour"
)


def read_crop(path: Path) -> PatientImages:
    """Pictures of a crop store: a zarr group with `image`, `inside` and, with a contour, `mask`.

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
    inside, about = crop.inside > 0, crop.attributes
    mask = np.zeros(inside.shape, dtype=bool) if crop.mask is None else crop.mask > 0
    pictures = {
        name: FeatureImage(image, mask, inside, about.spacing_mm)
        for name, image in zip(about.channels, crop.image, strict=True)
    }
    told = NO_CONTOUR if crop.mask is None else status
    return PatientImages(about.patient_id, pictures, told, crop.mask is not None, about.margin)


def with_predicted(images: PatientImages, masks: Path) -> PatientImages:
    """The same pictures with the contour a network predicted.

    For development patients the masks must be those of the fold that held the patient out:
    what a network drew on its own training patients is too good.

    Args:
        images: Of :func:`read_crop`.
        masks: `masks.zarr` of a fold: an array (Z, Y, X) per patient, on the crop's grid
            without margin.

    Raises:
        RadiomicsError: The patient is not among the masks, or the grids differ.
    """
    import zarr

    group = zarr.open_group(str(masks), mode="r")
    if not images.pictures:
        return images
    if images.patient_id not in group:
        raise RadiomicsError("there is no predicted contour of the patient", where=masks.name)
    found = np.pad(np.asarray(group[images.patient_id][...]) > 0, images.margin)
    if not found.any():
        return replace(images, contour=False, status=NOTHING_FOUND)
    for picture in images.pictures.values():
        if picture.image.shape != found.shape:
            raise RadiomicsError(
                "a predicted contour does not lie on the crop's grid",
                where=masks.name,
                expected=str(picture.image.shape),
                got=str(found.shape),
            )
    pictures = {name: replace(picture, mask=found) for name, picture in images.pictures.items()}
    return replace(images, pictures=pictures, contour=True, status=Status("ok", "radiomics"))


def read_native(sources: NativeSources) -> PatientImages:
    """Pictures of the native volumes: each image with the contour drawn on it.

    Where a contour was drawn on one of the images only, the other one gets it resampled onto
    its grid (nearest voxel), and that is told. Nothing is said of padding: all is imaged.

    Raises:
        RadiomicsError: A contour does not share its image's grid, or leaves nothing on the
            other image's grid.
        GeometryError: A volume cannot be read.
    """
    for folder in (sources.suv, sources.contours):
        status = read_status(folder)
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
    pictures, notes = {}, []
    for name, volume in volumes.items():
        if name in drawn:
            require_same_grid(volume.grid, drawn[name].grid, f"{name} and its contour")
            mask = drawn[name].array > 0
        else:
            other = next(iter(drawn))
            if must_register_pet(sources.convert):
                raise RadiomicsError(
                    f"the {name} has no contour of its own, and PET and CT lie in different frames of reference",
                    action="draw it on both images, or set radiomics.images: crop",
                )
            mask = resample_mask(drawn[other], volume.grid, np.eye(4), "nearest") > 0
            notes.append(f"the {name} has no contour of its own: that of the {other} was resampled")
        image = volume.array.astype(np.float32, copy=False)
        pictures[name] = FeatureImage(image, mask, np.ones(mask.shape, dtype=bool), volume.spacing_mm)
    return PatientImages(sources.patient_id, pictures, Status("ok", "radiomics"), True, notes=tuple(notes))


def read_images(source: Path | NativeSources) -> PatientImages:
    """Pictures of a crop store or of the native volumes.

    Raises:
        RadiomicsError, GeometryError: As :func:`read_crop` and :func:`read_native`.
    """
    return read_native(source) if isinstance(source, NativeSources) else read_crop(source)


def source_of(patient_id: str, images: Sequence[Path]) -> Path | NativeSources:
    """What a rule's image inputs are: one crop store, or the folders of convert, suv and contours."""
    if len(images) == 1:
        return images[0]
    convert, suv, contours = images
    return NativeSources(patient_id, convert, suv, contours)
