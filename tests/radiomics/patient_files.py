"""The files that the stages leave of a patient, made from a crop: native volumes on the crop's own grid."""

from pathlib import Path

import numpy as np

from pipeline.radiomics.native_pet import FeatureSources
from pipeline.store.crops import read_crop, read_status
from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Volume


def files_of(crop: Path, root: Path | None = None) -> FeatureSources:
    """The sources of a crop store's features; native volumes hold what the crop holds, voxel by voxel.

    Args:
        crop: `{patient}.zarr`; where it is absent or its patient excluded, nothing else is written.
        root: Folder of the stages; None: the folder of the crop.
    """
    stages = ("convert", "suv", "contours", "registration")
    folders = {stage: (root or crop.parent) / stage / crop.stem for stage in stages}
    if crop.exists() and read_status(crop).state != "excluded":
        stored = read_crop(crop)
        grid = stored.attributes.grid(stored.inside.shape)
        pet, ct = (Volume(np.ascontiguousarray(channel), grid) for channel in stored.image)
        write_nifti(folders["convert"] / "ct_hu.nii.gz", ct)
        write_nifti(folders["suv"] / "pet_suvbw.nii.gz", pet)
        if stored.mask is not None:
            write_nifti(folders["contours"] / "gtv_ct.nii.gz", Volume(stored.mask, grid))
        for stage in ("convert", "suv", "contours"):
            write_status(folders[stage], Status("ok", stage))
    return FeatureSources(crop.stem, **folders, crop=crop)
