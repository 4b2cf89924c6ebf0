"""What a CT series says of its values: Hounsfield units of the tissue, or something derived from them."""

from __future__ import annotations

import re

from pipeline.dicom.series.series import Series

# Words of (0008,0008) Image Type of material maps and of images from which a material was taken away: the terms
# of PS3.3 C.8.15.3.1.1 (multi-energy CT) and those that vendors use.
_MATERIAL = re.compile(
    r"MAT_(SPECIFIC|REMOVED|FRACTIONAL|MODIFIED|VALUE_BASED)|EFF_ATOMIC_NUM|ELECTRON_DENSITY|IODINE"
    r"|VIRTUAL_?(UNENHANCED|NON_?CONTRAST)|URIC_?ACID|PERFUSION"
    r"|(?<![A-Z])(VNC|VNI|VUE|VNCA|Z_?EFF|RHO(_?Z)?|PBV|SPR)(?![A-Z])"
)

# Texts that messages may show; another may be anything.
_KNOWN_TYPES = frozenset(
    ("OD", "ED", "HU_MOD", "MGML", "Z_EFF", "EDW", "PCT", "BQML", "CNTS", "GML", "NONE", "UNSPECIFIED")
)

UNSPECIFIED = "US"
"""(0028,1054) *Rescale Type* of values whose unit is not said."""


def without_unit(series: Series) -> bool:
    """Whether a CT says of its values that their unit is unspecified."""
    return any(UNSPECIFIED in instance.rescale_types for instance in series.instances)


def not_hounsfield(series: Series) -> str:
    """Why the values of a CT series are not the tissue's Hounsfield units; empty if nothing says so.

    (0028,1054) *Rescale Type* names the unit after the rescale; where it is absent from a CT it is HU (PS3.3 C.8.2.1).
    US (unspecified, PS3.3 C.11.1.1.2) names none: `convert` uses such a CT only if it shows air and tissue of HU.
    """
    types = {kind for instance in series.instances for kind in instance.rescale_types} - {"HU", UNSPECIFIED}
    if types:
        known = sorted(types & _KNOWN_TYPES)
        return f"not in Hounsfield units: (0028,1054) Rescale Type is {', '.join(known) or 'another'}"
    for value in sorted({kind for instance in series.instances for kind in instance.image_type}):
        found = _MATERIAL.search(value)
        if found:
            return f"not the tissue's Hounsfield units: (0008,0008) Image Type says {found.group()}"
    return ""


def unit_warnings(series: Series) -> list[str]:
    """Warn of a CT whose values are taken for Hounsfield units though it doesn't say so."""
    if not without_unit(series):
        return []
    return [
        "CT: (0028,1054) Rescale Type is US (unspecified); it is used if its values show air and tissue of HU"
    ]


def mixed_acquisition(series: Series) -> list[str]:
    """Warnings of a CT whose slices were acquired or reconstructed in several ways: HU differ between them."""
    seen: dict[str, set[float | None] | set[str]] = {
        "(0018,0060) KVP": {instance.kvp for instance in series.instances},
        "(0018,1210) Convolution Kernel": {instance.kernel for instance in series.instances},
    }
    return [
        f"CT: its slices have {len(values)} values of {name}; its parts may be of several scans or reconstructions"
        for name, values in seen.items()
        if len(values) > 1
    ]
