"""One patient's crop: from native voxels to the stored grid in one interpolation."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.crops.crop_position import read_position
from pipeline.crops.lesion import Lesion, MaskFrom, coverage, read_lesion
from pipeline.crops.placement import Placement, at_box, at_lesion, at_uptake, in_template
from pipeline.errors import CropError, PatientError, PipelineError
from pipeline.settings.base import Policy
from pipeline.settings.geometry import CropSettings
from pipeline.store.attributes import CropAttributes, Rows
from pipeline.store.crops import Crop, write_crop, write_excluded
from pipeline.tables.status import Status, Warnings, data_and_machine_told_apart, read_status
from pipeline.volumes.grids import in_field
from pipeline.volumes.nifti import read_nifti
from pipeline.volumes.resample import Sampling, resample, resample_mask
from pipeline.volumes.transform import inverse, must_register_pet, pet_matrix, read_matrix
from pipeline.volumes.volume import FloatArray, Grid, Volume

AIR_HU = -1024.0
STAGE = "crop"
CONSEQUENCE = "excluded from the study"
log = logging.getLogger(__name__)


class CutLesionError(CropError):
    """The crop cuts off more of the lesion than `crop.min_coverage` allows."""


@dataclass(frozen=True)
class CropSources:
    """What one patient's crop reads.

    Attributes:
        patient_id: Names the patient.
        convert: Folder of `convert` (the CT).
        suv: Folder of `suv` (the PET).
        contours: Folder of `contours`; None where contours are not looked for.
        registration: Folder of `registration`; needed for `position: fixed`, and for a PET
            that was registered to the CT.
        position: JSON of `crop_position`; needed for `position: fixed` only, unless
            `centre_mm` is set.
    """

    patient_id: str
    convert: Path
    suv: Path
    contours: Path | None = None
    registration: Path | None = None
    position: Path | None = None


def crop_patient(
    sources: CropSources, out: Path, settings: CropSettings, policy: Policy, mask_from: MaskFrom = "ct"
) -> None:
    """Cut a patient's PET and CT (and contour) on the crop's grid and store them.

    Channels are PET (SUV, g/mL) and CT (HU). Native voxels are interpolated once: the rigid
    transform and the crop's grid are composed, and for a PET of another frame of reference
    its registration to the CT too. Outside the images CT is -1024 HU and PET 0.

    Args:
        sources: Folders of the earlier stages.
        out: `{patient}.zarr`.
        settings: The study's section.
        policy: What a patient whose data cannot be trusted does.
        mask_from: The contour that fills the mask; the other one where only that exists.

    Raises:
        PatientError: The crop cannot be placed, or cuts the lesion off (under policy `stop`,
            or `crop.on_cut_lesion: stop`).
    """
    for folder in (sources.convert, sources.suv, sources.contours, sources.registration):
        if folder is not None and (status := read_status(folder)).state == "excluded":
            write_excluded(out, status)
            return
    warnings = Warnings()
    try:
        with data_and_machine_told_apart():
            crop = _cut(sources, settings, mask_from, warnings)
    except PatientError as error:
        rule = settings.on_cut_lesion if isinstance(error, CutLesionError) else policy
        _refuse(sources.patient_id, error, rule, out)
        return
    state = Status("warned", STAGE, " | ".join(warnings), "used") if warnings else Status("ok", STAGE)
    write_crop(out, crop, state)


def _refuse(patient_id: str, error: PatientError, rule: str, out: Path) -> None:
    if rule == "stop":
        error.where = f"patient {patient_id}" + (f", {error.where}" if error.where else "")
        error.action = error.action or "mend the data, or set study.on_bad_patient: exclude"
        raise error
    log.error("patient %s excluded at %s: %s", patient_id, STAGE, error)
    write_excluded(out, Status("excluded", STAGE, str(error), CONSEQUENCE))


def _cut(sources: CropSources, settings: CropSettings, mask_from: MaskFrom, warnings: Warnings) -> Crop:
    to_pet = pet_matrix(sources.convert, sources.registration)
    lesion = read_lesion(sources.contours, mask_from, to_pet) if sources.contours is not None else None
    if lesion is not None and lesion.drawn_on != mask_from:
        warnings.warn(f"the mask is the contour drawn on {lesion.drawn_on.upper()}: there is no other")
    pet = _read_pet(sources.suv)
    placed = _place(sources, settings, lesion, (pet, to_pet))
    covered = _check_coverage(lesion, placed, settings, warnings)
    for note in placed.notes:
        warnings.warn(note)
    ct = _read_ct(sources.convert)
    grid, matrix = placed.stored_grid(settings.margin), placed.to_patient
    kind = settings.interpolation
    image = np.empty((2, *grid.shape), dtype=np.float32)
    pet_from = to_pet @ matrix
    image[0] = resample(pet, grid, pet_from, Sampling(kind, 0.0))
    image[1] = resample(ct, grid, matrix, Sampling(kind, AIR_HU, AIR_HU))
    inside = in_field(pet.grid, grid, pet_from) & in_field(ct.grid, grid, matrix)
    inside &= _imaged(sources.convert / "pet_imaged.nii.gz", grid, pet_from)
    inside &= _imaged(sources.convert / "ct_imaged.nii.gz", grid, matrix)
    if not inside.any():
        raise CropError(
            "the crop lies outside the images",
            expected=f"an overlap with {ct.grid.describe()}",
            got=f"crop {grid.describe()}",
            action="check crop.position, crop.centre_mm or the table of boxes",
        )
    mask = None
    if lesion is not None:
        mask = resample_mask(lesion.mask, grid, lesion.to_own @ matrix, settings.mask_interpolation)
    about = _attributes(sources, settings, placed, lesion, covered)
    if must_register_pet(sources.convert):
        about = replace(about, pet_transform=_rows(pet_from))
    return Crop(image, mask, inside.astype(np.uint8), about)


def _imaged(path: Path, grid: Grid, matrix: FloatArray) -> npt.NDArray[np.bool_]:
    """Voxels of a grid that are no padding of an image; all where the image has none."""
    if not path.is_file():
        return np.ones(grid.shape, dtype=bool)
    return resample_mask(read_nifti(path, "mask"), grid, matrix, "nearest").astype(bool)


def _attributes(
    sources: CropSources,
    settings: CropSettings,
    placed: Placement,
    lesion: Lesion | None,
    covered: float | None,
) -> CropAttributes:
    grid = placed.stored_grid(settings.margin)
    quantity = _pet_file(sources.suv).name.removesuffix(".nii.gz")
    return CropAttributes(
        patient_id=sources.patient_id,
        channels=("pet", "ct"),
        units=("cm2/mL" if quantity == "pet_suvbsa" else "g/mL", "HU"),
        quantities=(quantity, "ct_hu"),
        spacing_mm=grid.spacing_mm,
        origin_mm=grid.origin_mm,
        direction=grid.direction,
        transform=_rows(placed.to_patient),
        margin=settings.margin,
        position=settings.position,
        contour=lesion.contour if lesion is not None else "none",
        mask_from=lesion.drawn_on if lesion is not None else "",
        lesion_coverage=covered,
        lesion_ml=lesion.volume_ml() if lesion is not None else None,
        notes=placed.notes,
    )


def _rows(matrix: FloatArray) -> Rows:
    return tuple(tuple(float(v) for v in row) for row in matrix)


def _place(
    sources: CropSources, settings: CropSettings, lesion: Lesion | None, pet: tuple[Volume, FloatArray]
) -> Placement:
    if settings.position == "lesion":
        return at_lesion(lesion, settings)
    if settings.position == "box":
        return at_box(sources.patient_id, settings)
    if settings.position == "brain_anchored":
        volume, to_pet = pet
        return replace(at_uptake(volume, settings), to_patient=inverse(to_pet))
    if sources.registration is None:
        raise PipelineError("crop.position: fixed needs the registration, which was not handed over")
    return in_template(
        _centre(sources, settings), read_matrix(sources.registration / "to_template.mat"), settings
    )


def _centre(sources: CropSources, settings: CropSettings) -> FloatArray:
    if settings.centre_mm is not None:
        return np.array(settings.centre_mm[::-1], dtype=np.float64)
    if sources.position is None:
        raise PipelineError("crop.position: fixed needs crop.centre_mm or the study's position.json")
    return read_position(sources.position)


def _check_coverage(
    lesion: Lesion | None, placed: Placement, settings: CropSettings, warnings: Warnings
) -> float | None:
    """Share of the lesion inside the crop (without margin); None without lesion."""
    if lesion is None:
        return None
    share = round(coverage(lesion, placed.grid, placed.to_patient), 6)
    if share >= settings.min_coverage:
        return share
    if settings.on_cut_lesion == "warn":
        warnings.warn(
            f"the crop holds {share:.0%} of the lesion (at least {settings.min_coverage:.0%} wanted)"
        )
        return share
    raise CutLesionError(
        "the crop cuts the lesion off",
        where="crop.min_coverage",
        expected=f"at least {settings.min_coverage:.0%} of the lesion",
        got=f"{share:.0%}",
        action="enlarge crop.shape, move crop.centre_mm, or set crop.on_cut_lesion: warn",
    )


def _pet_file(suv: Path) -> Path:
    """The one SUV image of a patient; its name says the normalisation."""
    found = sorted(suv.glob("pet_suv*.nii.gz"))
    if len(found) != 1:
        raise CropError(
            "there must be one SUV image",
            where="stage suv",
            expected="pet_suv….nii.gz",
            got=", ".join(p.name for p in found) or "none",
        )
    return found[0]


def _read_pet(suv: Path) -> Volume:
    return read_nifti(_pet_file(suv), "pet_suvbw")


def _read_ct(convert: Path) -> Volume:
    path = convert / "ct_hu.nii.gz"
    if not path.is_file():
        raise CropError(
            "the patient has no CT, and crops hold PET and CT",
            where="stage convert",
            action="set index.modalities: [pet, ct], so that patients without CT are refused at the start",
        )
    return read_nifti(path, "ct_hu")
