"""MIRP's values of two sarcoma patients, which `tests/radiomics/test_mirp.py` compares ours with.

MIRP 2.7.0 (Zwanenburg et al., J Open Source Softw 2024;9(99):6413, the software of IBSI's authors)
needs another numpy than this package, so its values are kept in `mirp_sts.csv`. To write them again:

    python -m venv /tmp/mirp && /tmp/mirp/bin/pip install mirp==2.7.0
    python -m tests.reference.mirp_sts images /tmp/sts             # in this package's environment
    /tmp/mirp/bin/python tests/reference/mirp_sts.py values /tmp/sts > tests/reference/mirp_sts.csv
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path

PATIENTS = ("STS_002", "STS_015")
WIDTHS = {"pet": 0.5, "ct": 25.0}
LOWER_BOUNDS = {"pet": 0.0, "ct": -1000.0}


def write_images(folder: Path) -> None:
    """Images and masks as the tests read them, as NIfTI."""
    import numpy as np
    import SimpleITK as sitk

    from tests.radiomics.test_features import unpacked

    for patient in PATIENTS:
        for modality, (values, mask, spacing_mm) in unpacked(patient, folder).items():
            for name, array in (("image", values), ("mask", mask.astype(np.uint8))):
                image = sitk.GetImageFromArray(array)
                image.SetSpacing([float(s) for s in spacing_mm[::-1]])
                sitk.WriteImage(image, str(folder / f"{patient}_{modality}_{name}.nii.gz"))


def write_values(folder: Path) -> None:
    """A line per feature: patient, modality, IBSI's tag, value."""
    # By name: it is no requirement of the tests, which only read the table.
    extract_features = import_module("mirp").extract_features
    print("patient,modality,feature,value")
    for patient in PATIENTS:
        for modality, width in WIDTHS.items():
            (table,) = extract_features(
                image=str(folder / f"{patient}_{modality}_image.nii.gz"),
                mask=str(folder / f"{patient}_{modality}_mask.nii.gz"),
                image_modality=modality,
                base_feature_families="all",
                base_discretisation_method="fixed_bin_size",
                base_discretisation_bin_width=width,
                resegmentation_intensity_range=[LOWER_BOUNDS[modality], float("nan")],
                glcm_spatial_method="3d_average",
                glrlm_spatial_method="3d_average",
                write_features=False,
                export_features=True,
            )
            for name, value in table.iloc[0].items():
                if "_3d_" in name or name.startswith(("stat_", "morph_", "ih_", "ivh_", "loc_")):
                    print(f"{patient},{modality},{ibsi_tag(name)},{float(value):.12g}")


def ibsi_tag(name: str) -> str:
    """MIRP's name as IBSI's tables have it: without distance, difference level and bin width."""
    return re.sub(r"_d1(_a0\.0)?|_fbs_w[\d.]+", "", name).replace("_3d", "_3D")


if __name__ == "__main__":
    {"images": write_images, "values": write_values}[sys.argv[1]](Path(sys.argv[2]))
