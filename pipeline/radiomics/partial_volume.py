"""PET metrics of contours that cut through voxels: each voxel counts by the share of it that lies inside.

A voxel that is more than half inside counts as a whole in a mask, so that the volume of a thin lesion on
voxels of 5 mm is off by several percent. Maximum, peak and texture stay those of the mask.
"""

from __future__ import annotations

import numpy as np

from pipeline.radiomics.images import FeatureImage
from pipeline.radiomics.pet_metrics import THRESHOLDS_SUV


def partial_volume_metrics(pet: FeatureImage) -> dict[str, float]:
    """Volume, SUVmean, MTV and TLG by shares of voxels, which take the place of the mask's; empty without shares.

    With the share w and the SUV v of voxels of the volume d: volume = d Σw (mL), SUVmean = Σwv / Σw (g/mL),
    TLG = d Σwv (g); MTV and TLG above a threshold sum over the voxels that reach it (see
    :func:`pipeline.radiomics.pet_metrics.pet_metrics`, whose columns these are).
    """
    if pet.shares is None:
        return {}
    voxel_ml = float(np.prod(pet.spacing_mm)) / 1000.0
    touched = pet.shares > 0
    share, suv = pet.shares[touched].astype(np.float64), pet.values[touched].astype(np.float64)
    suv_max = float(pet.values[pet.mask].max())
    metrics = {
        "volume_ml": share.sum() * voxel_ml,
        "suvmean": (share * suv).sum() / share.sum(),
        "tlg": (share * suv).sum() * voxel_ml,
    }
    for name, threshold in {"41": 0.41 * suv_max, **{str(t): t for t in THRESHOLDS_SUV}}.items():
        above = suv >= threshold
        metrics[f"mtv_{name}"] = share[above].sum() * voxel_ml
        metrics[f"tlg_{name}"] = (share * suv)[above].sum() * voxel_ml
    return {f"pet_index_{name}": float(value) for name, value in metrics.items()}
