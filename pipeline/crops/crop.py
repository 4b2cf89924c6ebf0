"""The rule `crop`: from native voxels to the stored grid of a patient in one interpolation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.crops.crop_position import read_position
from pipeline.crops.lesion import Lesion, MaskFrom, coverage, read_lesion
from pipeline.crops.metal import metal_ml, metal_warning
from pipeline.crops.placement import Placement, at_box, at_lesion, below_brain, in_template
from pipeline.errors import CropError, PatientError, PipelineError
from pipeline.settings.base import Policy
from pipeline.settings.geometry import CropSettings
from pipeline.store.attributes import CropAttributes, Rows
from pipeline.store.crops import Crop, write_crop, write_excluded
from pipeline.tables.status import Status, Warnings, data_and_machine_told_apart, read_whole, stop_or_exclude
from pipeline.volumes.grids import in_field
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.resample import Sampling, resample
from pipeline.volumes.resample_masks import resample_labels
from pipeline.volumes.stage_files import CT_IMAGED, PET_IMAGED, imaged_voxels, read_suv, suv_file
from pipeline.volumes.transform import inverse, must_register_pet, pet_matrix, read_matrix
from pipeline.volumes.volume import FloatArray, Volume

AIR_HU = -1024.0
STAGE = "crop"
CONSEQUENCE = "excluded from the study"


class CutLesionError(CropError):
    """The crop cuts off more of the lesion than `crop.min_coverage` allows."""


@dataclass(frozen=True)
class CropSources:
    """What the crop of one patient reads.

    Attributes:
        patient_id: The patient.
        convert: Folder of `convert` (the CT).
        suv: Folder of `suv` (the PET).
        contours: Folder of `contours`; None: contours are not looked for.
        registration: Folder of `registration`; needed with `position: fixed`, and for a PET
            that was registered to the CT.
        position: JSON of `crop_position`; needed with `position: fixed` unless `centre_mm` is
            set.
    """

    patient_id: str
    convert: Path
    suv: Path
    contours: Path | None = None
    registration: Path | None = None
    position: Path | None = None


@dataclass(frozen=True)
class NativeImage:
    """An image of a patient and where it lies.

    Attributes:
        volume: The image, SUV or HU.
        from_scanner: 4×4 from scanner points to its own points (LPS mm).
        imaged: Mask of what was imaged, which may be absent.
        sampling: How it is interpolated, and what lies outside of it.
        quantity: Name of what its values are, e.g. `pet_suvbw`.
        unit: Unit of its values.
    """

    volume: Volume
    from_scanner: FloatArray
    imaged: Path
    sampling: Sampling
    quantity: str
    unit: str


def crop_patient(
    sources: CropSources, out: Path, settings: CropSettings, policy: Policy, mask_from: MaskFrom = "ct"
) -> None:
    """Resample a patient's PET, CT or both (and contour) to the crop's grid and store them.

    Channels are those of `crop.channels`: PET (SUV, g/mL), CT (HU). Native voxels are interpolated once: the rigid
    transform and the crop's grid are composed, as is the registration to the CT of a PET of
    another frame of reference. Outside the images CT is -1024 HU and PET 0.

    Args:
        sources: Folders of the earlier stages.
        out: `{patient}.zarr`.
        settings: The study's section.
        policy: What happens to a patient whose data cannot be trusted.
        mask_from: The contour that fills the mask; the other contour where only that exists.

    Raises:
        PatientError: The crop cannot be placed, or cuts the lesion off (under policy `stop`,
            or `crop.on_cut_lesion: stop`).
    """
    for folder in (sources.convert, sources.suv, sources.contours, sources.registration):
        if folder is not None and (status := read_whole(folder)).state == "excluded":
            write_excluded(out, status)
            return
    warnings = Warnings()
    try:
        with data_and_machine_told_apart():
            crop = resample_crop(sources, settings, mask_from, warnings)
    except PatientError as error:
        # `warn` never raises this error.
        cut: Policy = "stop" if settings.on_cut_lesion == "stop" else "exclude"
        rule = cut if isinstance(error, CutLesionError) else policy
        excluded = Status("excluded", STAGE, consequence=CONSEQUENCE)
        write_excluded(out, stop_or_exclude(error, sources.patient_id, excluded, rule))
        return
    state = Status("warned", STAGE, " | ".join(warnings), "used") if warnings else Status("ok", STAGE)
    write_crop(out, crop, state)


def resample_crop(
    sources: CropSources, settings: CropSettings, mask_from: MaskFrom, warnings: Warnings
) -> Crop:
    """A patient's images and mask on the crop's grid.

    Raises:
        CropError: The crop cannot be placed, lies outside the images, or cuts the lesion off.
    """
    to_pet = pet_matrix(sources.convert, sources.registration)
    lesion = read_lesion(sources.contours, mask_from, to_pet) if sources.contours is not None else None
    if lesion is not None and lesion.drawn_on != mask_from:
        warnings.warn(
            f"the mask is the contour drawn on the {lesion.drawn_on.upper()}, since there is no other"
        )
    natives = _native_images(sources, settings, to_pet)
    placement = _place(sources, settings, lesion, natives.get("pet"))
    covered = _check_coverage(lesion, placement, settings, warnings)
    for note in placement.notes:
        warnings.warn(note)
    grid, to_scanner = placement.stored_grid(settings.margin), placement.to_patient
    if "ct" in natives:
        metal = metal_ml(natives["ct"].volume, placement.grid, to_scanner, settings.metal_hu)
        if warning := metal_warning(metal, settings):
            warnings.warn(warning)
    image = np.empty((len(natives), *grid.shape), dtype=np.float32)
    inside = np.ones(grid.shape, dtype=bool)
    for channel, native in enumerate(natives.values()):
        to_native = native.from_scanner @ to_scanner
        image[channel] = resample(native.volume, grid, to_native, native.sampling)
        inside &= in_field(native.volume.grid, grid, to_native)
        inside &= imaged_voxels(native.imaged, grid, to_native)
    if not inside.any():
        images = " and ".join(f"{name}: {n.volume.grid.describe()}" for name, n in natives.items())
        raise CropError(
            "the crop lies outside the images",
            expected=f"an overlap with {images}",
            got=f"crop {grid.describe()}",
            action="check crop.position, crop.centre_mm or the table of boxes",
        )
    mask = None
    if lesion is not None:
        mask = resample_labels(lesion.mask, grid, lesion.to_own @ to_scanner, settings.mask_interpolation)
    attributes = replace(
        _attributes(sources, settings, placement, lesion, covered),
        units=tuple(native.unit for native in natives.values()),
        quantities=tuple(native.quantity for native in natives.values()),
    )
    if must_register_pet(sources.convert):
        attributes = replace(attributes, pet_transform=_rows(to_pet @ to_scanner))
    return Crop(image, mask, inside.astype(np.uint8), attributes)


def _attributes(
    sources: CropSources,
    settings: CropSettings,
    placement: Placement,
    lesion: Lesion | None,
    covered: float | None,
) -> CropAttributes:
    grid = placement.stored_grid(settings.margin)
    return CropAttributes(
        patient_id=sources.patient_id,
        channels=settings.channels,
        units=(),
        spacing_mm=grid.spacing_mm,
        origin_mm=grid.origin_mm,
        direction=grid.direction,
        transform=_rows(placement.to_patient),
        margin=settings.margin,
        position=settings.position,
        contour=lesion.contour if lesion is not None else "none",
        mask_from=lesion.drawn_on if lesion is not None else "",
        lesion_coverage=covered,
        lesion_ml=lesion.volume_ml() if lesion is not None else None,
        classes=lesion.classes if lesion is not None else (),
        notes=placement.notes,
    )


def _rows(matrix: FloatArray) -> Rows:
    return tuple(tuple(float(v) for v in row) for row in matrix)


def _native_images(
    sources: CropSources, settings: CropSettings, to_pet: FloatArray
) -> dict[str, NativeImage]:
    """The images of the study's channels, in their order.

    Raises:
        CropError: The patient has no CT, and the study's crops hold one.
        GeometryError: The patient has no SUV image, and the study's crops hold one.
    """
    images: dict[str, NativeImage] = {}
    if "pet" in settings.channels:
        quantity = suv_file(sources.suv).name.removesuffix(".nii.gz")
        images["pet"] = NativeImage(
            volume=read_suv(sources.suv),
            from_scanner=to_pet,
            imaged=sources.convert / PET_IMAGED,
            sampling=Sampling(settings.interpolation, 0.0),
            quantity=quantity,
            unit="cm2/mL" if quantity == "pet_suvbsa" else "g/mL",
        )
    if "ct" in settings.channels:
        images["ct"] = NativeImage(
            volume=_read_ct(sources.convert),
            from_scanner=np.eye(4),
            imaged=sources.convert / CT_IMAGED,
            sampling=Sampling(settings.interpolation, AIR_HU, AIR_HU),
            quantity="ct_hu",
            unit="HU",
        )
    return images


def _place(
    sources: CropSources, settings: CropSettings, lesion: Lesion | None, pet: NativeImage | None
) -> Placement:
    if settings.position == "lesion":
        return at_lesion(lesion, settings)
    if settings.position == "box":
        return at_box(sources.patient_id, settings)
    if settings.position == "brain_anchored":
        assert pet is not None  # the settings ask for it
        return replace(below_brain(pet.volume, settings), to_patient=inverse(pet.from_scanner))
    if sources.registration is None:
        raise PipelineError("crop.position: fixed needs the registration, which was not given")
    return in_template(
        _template_centre(sources, settings), read_matrix(sources.registration / "to_template.mat"), settings
    )


def _template_centre(sources: CropSources, settings: CropSettings) -> FloatArray:
    if settings.centre_mm is not None:
        return np.array(settings.centre_mm[::-1], dtype=np.float64)
    if sources.position is None:
        raise PipelineError("crop.position: fixed needs crop.centre_mm or the file of the rule crop_position")
    return read_position(sources.position)


def _check_coverage(
    lesion: Lesion | None, placement: Placement, settings: CropSettings, warnings: Warnings
) -> float | None:
    """Share of the lesion inside the crop (without margin); None without a lesion.

    Each class of the mask must lie inside by itself: a small node may be missing where the whole is not.
    """
    if lesion is None:
        return None
    covered = coverage(lesion, placement.grid, placement.to_patient)
    # The lesion itself first, so that it is named where a class is covered no less.
    share, part = min(covered.shares(), key=lambda entry: entry[0])
    if share >= settings.min_coverage:
        return covered.lesion
    if settings.on_cut_lesion == "warn":
        warnings.warn(f"the crop holds {share:.0%} of {part} (at least {settings.min_coverage:.0%} expected)")
        return covered.lesion
    raise CutLesionError(
        f"the crop cuts {part} off",
        where="crop.min_coverage",
        expected=f"at least {settings.min_coverage:.0%} of {part}",
        got=f"{share:.0%}",
        action="enlarge crop.shape, move crop.centre_mm, or set crop.on_cut_lesion: warn",
    )


def _read_ct(convert: Path) -> Volume:
    path = convert / "ct_hu.nii.gz"
    if not path.is_file():
        raise CropError(
            "the patient has no CT, and crops hold one",
            where="stage convert, crop.channels",
            action="set crop.channels: [pet] where no CT is wanted, or index.modalities: [pet, ct], so that patients "
            "without CT are excluded at the stage index",
        )
    return read_nifti(path, "ct_hu")
