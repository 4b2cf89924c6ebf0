"""PET metrics: SUV, metabolic tumour volume, total lesion glycolysis, dissemination, rim.

They are measured on native voxels (:mod:`pipeline.radiomics.native_pet`): interpolation lowers
SUVmax and changes volumes above a threshold.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.images import BoolArray, FeatureImage, Spacing, lesion_box, widened
from pipeline.radiomics.subregions import shell_around

PEAK_RADIUS_MM = (3.0 / (4.0 * np.pi)) ** (1.0 / 3.0) * 10.0
RIM_MM = 8.0
THRESHOLDS_SUV = (2.5, 4.0)
PET_METRIC_COLUMNS = (
    "pet_index_suvmax",
    "pet_index_suvmean",
    "pet_index_suvpeak",
    "pet_index_mtv_41",
    "pet_index_mtv_2.5",
    "pet_index_mtv_4.0",
    "pet_index_tlg",
    "pet_index_tlg_41",
    "pet_index_tlg_2.5",
    "pet_index_tlg_4.0",
    "pet_index_volume_ml",
    "pet_index_lesions",
    "pet_index_dmax_mm",
    "pet_index_rim_suvmean",
)


@dataclass(frozen=True)
class Dissemination:
    """The spread of a lesion.

    Attributes:
        lesions: Number of connected parts (26 neighbours).
        dmax_mm: Greatest distance of two parts' centres of volume; 0 for one part.
    """

    lesions: int
    dmax_mm: float


def pet_metrics(pet: FeatureImage) -> dict[str, float]:
    """The usual PET metrics, from a native PET (SUVbw, g/mL) and a contour; NaN where it is empty.

    - `suvmax`, `suvmean` (g/mL): within the mask (Boellaard et al., EANM guideline 2.0, Eur J
      Nucl Med Mol Imaging 2015;42:328-354).
    - `suvpeak` (g/mL): the highest mean in a 1 cm³ sphere centred on a voxel of the mask
      (PERCIST, Wahl et al., J Nucl Med 2009;50 Suppl 1:122S-150S; IBSI global intensity peak,
      0F91); the sphere may extend beyond the mask, but not beyond the imaged voxels.
    - `mtv_41`, `mtv_2.5`, `mtv_4.0` (mL): voxels of the mask at or above 41 % of `suvmax`
      (EANM guideline 2.0), SUV 2.5 (Freudenberg et al., Eur J Nucl Med Mol Imaging
      2004;31:325-329), SUV 4.0 (Barrington et al., J Nucl Med 2021;62:332-337).
    - `tlg` (g): SUVmean × volume of the whole mask (Larson et al., Clin Positron Imaging
      1999;2:159-171); `tlg_41`, `tlg_2.5`, `tlg_4.0` of the thresholded volumes.
    - `volume_ml` (mL): the mask's voxels.
    - `lesions`: connected parts of the mask (26 neighbours).
    - `dmax_mm` (mm): greatest distance of two parts' centres of volume; 0 for one part
      (Cottereau et al., J Nucl Med 2020;61:40-45).
    - `rim_suvmean` (g/mL): mean in the shell of voxels whose centres lie more than 0 and at
      most 8 mm from the nearest voxel centre of the mask, over imaged voxels; a metric of this
      package, after peritumoral regions as in Braman et al., Breast Cancer Res 2017;19:57. NaN
      if no voxel of the shell was imaged.

    Returns:
        Values by column, in the order of :data:`PET_METRIC_COLUMNS`.
    """
    if not pet.mask.any():
        return dict.fromkeys(PET_METRIC_COLUMNS, float("nan"))
    voxel_ml = float(np.prod(pet.spacing_mm)) / 1000.0
    values = pet.values[pet.mask].astype(np.float64)
    spread = _dissemination(pet.mask[lesion_box(pet.mask)], pet.spacing_mm)
    metrics = {
        "suvmax": float(values.max()),
        "suvmean": float(values.mean()),
        "suvpeak": suv_peak(pet),
        **_thresholded(values, voxel_ml),
        "tlg": float(values.mean()) * values.size * voxel_ml,
        "volume_ml": values.size * voxel_ml,
        "lesions": float(spread.lesions),
        "dmax_mm": spread.dmax_mm,
        "rim_suvmean": rim_mean(pet),
    }
    return {column: metrics[column.removeprefix("pet_index_")] for column in PET_METRIC_COLUMNS}


def _thresholded(values: npt.NDArray[np.float64], voxel_ml: float) -> dict[str, float]:
    thresholds = {"41": 0.41 * values.max(), **{str(t): t for t in THRESHOLDS_SUV}}
    metrics = {}
    for name, threshold in thresholds.items():
        above = values[values >= threshold]
        metrics[f"mtv_{name}"] = above.size * voxel_ml
        metrics[f"tlg_{name}"] = float(above.sum()) * voxel_ml
    return metrics


def _dissemination(mask: BoolArray, spacing_mm: Spacing) -> Dissemination:
    from scipy import ndimage

    parts, number = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    if number < 2:
        return Dissemination(int(number), 0.0)
    centres = np.array(ndimage.center_of_mass(mask, parts, range(1, number + 1))) * spacing_mm
    gaps = np.linalg.norm(centres[:, None] - centres[None], axis=-1)
    return Dissemination(int(number), float(gaps.max()))


def suv_peak(pet: FeatureImage) -> float:
    """Highest mean of imaged voxels whose centres lie in a 1 cm³ sphere around a voxel of the mask."""
    reach = [int(PEAK_RADIUS_MM / s) for s in pet.spacing_mm]
    wide = widened(lesion_box(pet.mask), pet.values.shape, (reach[0], reach[1], reach[2]))
    means = sphere_means(pet.values[wide].astype(np.float64), pet.inside[wide], pet.spacing_mm)
    peaks = means[pet.mask[wide]]
    return float(np.nanmax(peaks)) if np.isfinite(peaks).any() else float("nan")


def sphere_means(
    values: npt.NDArray[np.float64], imaged: BoolArray, spacing_mm: Spacing
) -> npt.NDArray[np.float64]:
    """Mean of the imaged voxels whose centres lie in a 1 cm³ sphere around each voxel; NaN where none does.

    Args:
        values: Image (z, y, x); what lies beyond it is not imaged.
        imaged: Voxels that were imaged (z, y, x).
        spacing_mm: Distance of voxel centres (z, y, x).
    """
    pads = [(int(PEAK_RADIUS_MM / s),) * 2 for s in spacing_mm]
    weight = np.pad(imaged, pads).astype(np.float64)
    total = _sphere_sums(np.pad(values, pads) * weight, spacing_mm)
    count = np.round(_sphere_sums(weight, spacing_mm))
    means: npt.NDArray[np.float64] = np.full(values.shape, np.nan)
    np.divide(total, count, out=means, where=count > 0)
    return means


def _sphere_sums(padded: npt.NDArray[np.float64], spacing_mm: Spacing) -> npt.NDArray[np.float64]:
    """Sums over the sphere around each voxel whose sphere lies within the array.

    The sphere is a set of rows along x, and the difference of two values of the cumulative sum
    along x is the sum over a row.
    """
    rz, ry, rx = (int(PEAK_RADIUS_MM / s) for s in spacing_mm)
    nz, ny, nx = (n - 2 * r for n, r in zip(padded.shape, (rz, ry, rx), strict=True))
    running = np.zeros((padded.shape[0], padded.shape[1], padded.shape[2] + 1))
    np.cumsum(padded, axis=2, out=running[:, :, 1:])
    sums: npt.NDArray[np.float64] = np.zeros((nz, ny, nx))
    for dz in range(-rz, rz + 1):
        for dy in range(-ry, ry + 1):
            left = PEAK_RADIUS_MM**2 - (dz * spacing_mm[0]) ** 2 - (dy * spacing_mm[1]) ** 2
            if left < 0:
                continue
            half = int(np.sqrt(left) / spacing_mm[2])
            rows = running[rz + dz : rz + dz + nz, ry + dy : ry + dy + ny]
            sums += rows[:, :, rx + half + 1 : rx + half + 1 + nx] - rows[:, :, rx - half : rx - half + nx]
    return sums


def rim_mean(pet: FeatureImage) -> float:
    """Mean SUV (g/mL) of the imaged voxels in the shell around a lesion; NaN where there are none."""
    shell = shell_around(pet.mask, pet.spacing_mm, RIM_MM)
    values = pet.values[shell.box][shell.mask & pet.inside[shell.box]]
    return float(values.astype(np.float64).mean()) if values.size else float("nan")
