"""Perturbations of a patient's images and contour, in place of repeated scans and observers.

After Zwanenburg et al., Sci Rep 2019;9:614: volume adaptation, translation, rotation, noise and
contour randomisation. What is random is drawn from the patient's name, so that it is the same in
every run.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import BoolArray, FeatureImage, Spacing, lesion_box, wavelet_images, widened
from pipeline.settings.radiomics import RadiomicsSettings
from pipeline.volumes.grids import Slices

UNCHANGED = "as drawn"
CONTOUR_NAMES = {
    "volume": ("grown", "shrunk"),
    "shift": tuple(f"moved {sign}{axis}" for axis in "zyx" for sign in "-+"),
}
"""Changes of the contour by kind."""
CORRELATION_MM = 10.0
"""Distance over which a random displacement of the contour stays alike."""
WAVES = 128
"""Plane waves that a random field is the sum of."""
MARGIN_MM, MARGIN_VOXELS = 40.0, 16
"""What stays around the lesion where the image itself changes: rim, 1 cm³ sphere and wavelets."""
NOISE_WAVELET = "coif1"
MAD_OF_NORMAL = 0.6745
"""Median absolute deviation of a standard normal distribution."""


@dataclass(frozen=True)
class Perturbation:
    """One perturbation.

    Attributes:
        name: E.g. `as drawn`, `grown`, `moved +z`, `rotated +10°`, `noise 1`, `contour 2`.
        apply: The perturbed image, from an image and its modality; None where the contour has no
            voxel left.
    """

    name: str
    apply: Callable[[FeatureImage, str], FeatureImage | None]


def perturbations(settings: RadiomicsSettings, patient_id: str) -> Iterator[Perturbation]:
    """The perturbations of a study, the unchanged image first.

    Args:
        settings: The study's radiomics section.
        patient_id: The patient, from whose name random numbers are drawn.
    """
    yield Perturbation(UNCHANGED, lambda image, modality: image)
    for kind in settings.perturbations:
        if kind in ("volume", "shift"):
            for name in CONTOUR_NAMES[kind]:
                yield Perturbation(name, partial(_with_contour, name=name, by_mm=settings.perturb_mm))
        elif kind == "rotation":
            for degrees in (-settings.perturb_degrees, settings.perturb_degrees):
                yield Perturbation(f"rotated {degrees:+g}°", partial(_turned, degrees=degrees))
        else:
            for number in range(1, settings.perturb_repeats + 1):
                seed = f"{patient_id} {kind} {number}"
                change = partial(_displaced, sd_mm=settings.perturb_mm) if kind == "contour" else _with_noise
                yield Perturbation(f"{kind} {number}", partial(change, seed=seed))


def _with_contour(image: FeatureImage, modality: str, name: str, by_mm: float) -> FeatureImage | None:
    mask = changed_contour(name, image.mask, image.spacing_mm, by_mm)
    return replace(image, mask=mask) if mask.any() else None


def _turned(image: FeatureImage, modality: str, degrees: float) -> FeatureImage | None:
    return rotated(image, degrees)


def _displaced(image: FeatureImage, modality: str, sd_mm: float, seed: str) -> FeatureImage | None:
    # The same displacement on all images: the contour is one.
    return randomised(image, sd_mm, zlib.crc32(seed.encode()))


def _with_noise(image: FeatureImage, modality: str, seed: str) -> FeatureImage:
    return noisy(image, zlib.crc32(f"{seed} {modality}".encode()))


def perturbed(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> Iterator[tuple[str, BoolArray]]:
    """A contour as drawn, grown, shrunk, and moved both ways along each axis.

    Growing adds voxels whose centres lie within the distance of the contour's voxels; shrinking
    leaves voxels farther than the distance from voxels outside (Zwanenburg et al., Sci Rep
    2019;9:614, on perturbations in place of repeated contours). If the voxels are larger than
    the distance along all axes, the voxel size of the finest axis is used; a move is a whole
    number of voxels, at least one. Voxels that are moved out of the image are lost, and a mask
    without voxels is not yielded.

    Args:
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).
        by_mm: Distance.
    """
    yield UNCHANGED, mask
    for name in (*CONTOUR_NAMES["volume"], *CONTOUR_NAMES["shift"]):
        changed = changed_contour(name, mask, spacing_mm, by_mm)
        if changed.any():
            yield name, changed


def changed_contour(name: str, mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> BoolArray:
    """A contour grown, shrunk or moved, by name (:data:`CONTOUR_NAMES`); maybe empty."""
    if name == "grown":
        return _grown(mask, spacing_mm, by_mm)
    if name == "shrunk":
        return _shrunk(mask, spacing_mm, by_mm)
    axis = "zyx".index(name[-1])
    steps = max(1, round(by_mm / spacing_mm[axis]))
    return _moved(mask, axis, steps if "+" in name else -steps)


def _grown(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> BoolArray:
    from scipy import ndimage

    distance = max(by_mm, min(spacing_mm))
    reach = [int(distance / s) + 1 for s in spacing_mm]
    box = widened(lesion_box(mask), mask.shape, (reach[0], reach[1], reach[2]))
    grown = mask.copy()
    grown[box] = ndimage.distance_transform_edt(~mask[box], sampling=spacing_mm) <= distance
    return grown


def _shrunk(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> BoolArray:
    from scipy import ndimage

    distance = max(by_mm, min(spacing_mm))
    box = widened(lesion_box(mask), mask.shape, (1, 1, 1))
    shrunk = mask.copy()
    if not mask[box].all():
        shrunk[box] = ndimage.distance_transform_edt(mask[box], sampling=spacing_mm) > distance
    return shrunk


def _moved(mask: BoolArray, axis: int, steps: int) -> BoolArray:
    moved = np.zeros_like(mask)
    source, target = [slice(None)] * 3, [slice(None)] * 3
    source[axis] = slice(max(0, -steps), mask.shape[axis] - max(0, steps))
    target[axis] = slice(max(0, steps), mask.shape[axis] - max(0, -steps))
    moved[tuple(target)] = mask[tuple(source)]
    return moved


def surroundings(image: FeatureImage, margin_mm: float = MARGIN_MM) -> FeatureImage:
    """An image cut to its lesion and what its features see of the tissue around it."""
    z, y, x = (max(int(np.ceil(margin_mm / s)), MARGIN_VOXELS) for s in image.spacing_mm)
    box = widened(lesion_box(image.mask), image.mask.shape, (z, y, x))
    return FeatureImage(image.values[box], image.mask[box], image.inside[box], image.spacing_mm)


def rotated(image: FeatureImage, degrees: float) -> FeatureImage | None:
    """Image and contour turned about the z axis through the lesion's centre.

    The image is interpolated by cubic splines, the mask linearly and cut at one half.

    Args:
        image: The image.
        degrees: Angle; positive turns the y axis towards the x axis.
    """
    from scipy import ndimage

    _, y, x = (s.stop - s.start for s in lesion_box(image.mask))
    reach = float(np.hypot(y * image.spacing_mm[1], x * image.spacing_mm[2])) / 2
    cut = surroundings(image, MARGIN_MM + reach * abs(np.sin(np.radians(degrees))))
    spacing = np.asarray(cut.spacing_mm)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = np.array([[1.0, 0.0, 0.0], [0.0, cosine, sine], [0.0, -sine, cosine]])
    # Output voxels to input voxels, both in mm about the centre.
    matrix = turn * spacing[None, :] / spacing[:, None]
    centre = np.argwhere(cut.mask).mean(axis=0)
    transform = partial(
        ndimage.affine_transform, matrix=matrix, offset=centre - matrix @ centre, mode="nearest"
    )
    mask = transform(cut.mask.astype(np.float64), order=1, mode="constant") >= 0.5
    if not mask.any():
        return None
    inside = transform(cut.inside.astype(np.float64), order=1, mode="constant") >= 0.5
    values = transform(cut.values.astype(np.float64), order=3).astype(image.values.dtype)
    return FeatureImage(values, mask, inside, image.spacing_mm)


def noisy(image: FeatureImage, seed: int) -> FeatureImage:
    """An image with Gaussian noise of its own standard deviation added.

    Args:
        image: The image.
        seed: Seed of the noise.
    """
    cut = surroundings(image)
    noise = np.random.default_rng(seed).normal(0.0, noise_sd(cut), cut.values.shape)
    return replace(cut, values=(cut.values + noise).astype(image.values.dtype))


def noise_sd(image: FeatureImage) -> float:
    """Standard deviation of the noise, from the median of the finest diagonal wavelet coefficients.

    Donoho & Johnstone, Biometrika 1994;81:425-455, as Zwanenburg et al. apply it (`coif1`, HHH).
    """
    z, y, x = (slice(0, n) for n in image.values.shape)
    box: Slices = (z, y, x)
    ((_, detail),) = wavelet_images(image.values, box, NOISE_WAVELET, ("HHH",))
    return float(np.median(np.abs(detail[image.inside]))) / MAD_OF_NORMAL


def randomised(image: FeatureImage, sd_mm: float, seed: int) -> FeatureImage | None:
    """An image whose contour is displaced by a smooth random field, as another observer might draw it.

    The boundary moves outwards where the field is positive. The field is a sum of plane waves in mm
    about the lesion's centre, so that it is the same on every grid.

    Args:
        image: The image.
        sd_mm: Standard deviation of the displacement.
        seed: Seed of the field.
    """
    box = widened(lesion_box(image.mask), image.mask.shape, _voxels(image.spacing_mm, 4 * sd_mm))
    mask = image.mask[box]
    distance = _signed_distance(mask, image.spacing_mm)
    centre = np.argwhere(mask).mean(axis=0)
    # Beyond four standard deviations nothing changes sides.
    near = np.abs(distance) <= 4 * sd_mm
    points = (np.argwhere(near) - centre) * np.asarray(image.spacing_mm)
    moved = mask.copy()
    moved[near] = distance[near] <= sd_mm * random_field(points, seed)
    if not moved.any():
        return None
    whole = np.zeros_like(image.mask)
    whole[box] = moved
    return replace(image, mask=whole)


def random_field(points: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """A smooth Gaussian random field of mean 0 and SD 1 at points (n, 3; mm)."""
    rng = np.random.default_rng(seed)
    waves = rng.normal(0.0, 1.0 / CORRELATION_MM, (WAVES, 3))
    phases = rng.uniform(0.0, 2 * np.pi, WAVES)
    field = np.zeros(len(points))
    for wave, phase in zip(waves, phases, strict=True):
        field += np.cos(points @ wave + phase)
    return np.asarray(field * np.sqrt(2.0 / WAVES), dtype=np.float64)


def _signed_distance(mask: BoolArray, spacing_mm: Spacing) -> npt.NDArray[np.float64]:
    """Distance (mm) from the surface, which lies midway between centres; negative inside."""
    outside = _to_surface(~mask, spacing_mm)
    inside = _to_surface(np.pad(mask, 1), spacing_mm)[1:-1, 1:-1, 1:-1]
    return np.where(mask, -inside, outside)


def _to_surface(mask: BoolArray, spacing_mm: Spacing) -> npt.NDArray[np.float64]:
    """Distance of a mask's voxels from the middle of the last step to the nearest voxel beyond it."""
    from scipy import ndimage

    distance, nearest = ndimage.distance_transform_edt(mask, sampling=spacing_mm, return_indices=True)
    steps = np.abs(nearest - np.indices(mask.shape)).max(axis=0)
    return np.asarray(distance * (1 - 0.5 / np.maximum(steps, 1)), dtype=np.float64)


def _voxels(spacing_mm: Spacing, by_mm: float) -> tuple[int, int, int]:
    z, y, x = (int(np.ceil(by_mm / s)) for s in spacing_mm)
    return z, y, x
