"""A prediction as files: JSON, a page, the mask as NIfTI and as DICOM SEG."""

from __future__ import annotations

import base64
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.deploy.boxes import FILE as BOXES
from pipeline.deploy.covariate_shift import label
from pipeline.deploy.manifest import Manifest
from pipeline.deploy.predict import Prediction
from pipeline.volumes.grids import sub_grid
from pipeline.volumes.nifti import read_grid, write_nifti
from pipeline.volumes.resample import Sampling, resample
from pipeline.volumes.transform import inverse
from pipeline.volumes.volume import Grid, Volume

TEMPLATES = Path(__file__).parent / "templates"
PREDICTION, PAGE, MASK, SEG = "prediction.json", "report.html", "mask_ct.nii.gz", "mask_ct_seg.dcm"


def write_prediction(manifest: Manifest, one: Prediction, out: Path, *, identity: bool = False) -> None:
    """Write `prediction.json`, `report.html`, the mask (where a network segments), the boxes (where one detects).

    The mask lies on the CT's grid. It is also written as DICOM SEG where the images are DICOM
    and it is not empty. No file holds what the DICOM files say of who the patient is, unless
    `identity` asks the SEG to.

    Args:
        manifest: Of the bundle.
        one: The prediction.
        out: Folder.
        identity: Keep patient and study attributes in the SEG, for an archive.
    """
    out.mkdir(parents=True, exist_ok=True)
    volume: float | None = None
    if one.probability is not None:
        mask, grid = mask_on_ct(manifest, one)
        volume = float(mask.sum()) * grid.voxel_ml()
        write_nifti(out / MASK, Volume(mask.astype(np.uint8), grid, "mask"))
        if manifest.source == "dicom" and mask.any():
            _write_seg(one, mask, grid, out / SEG, identity=identity)
    if one.boxes is not None:
        one.boxes.to_csv(out / BOXES, index=False)
    content = {**_plain(one), "mask_ml": volume, "bundle": _origin(manifest)}
    (out / PREDICTION).write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (out / PAGE).write_text(page(manifest, one, volume), encoding="utf-8")


def mask_on_ct(manifest: Manifest, one: Prediction) -> tuple[npt.NDArray[np.bool_], Grid]:
    """The mean tumour probability carried back to the CT's grid, and cut there."""
    from pipeline.store.crops import read_attributes, read_crop

    assert one.probability is not None
    attributes = read_attributes(one.stages.crop)
    stored = attributes.grid(read_crop(one.stages.crop).inside.shape)
    margin = [0 if n == 1 else attributes.margin for n in stored.shape]
    a, b, c = (slice(m, n - m) for m, n in zip(margin, stored.shape, strict=True))
    grid = read_grid(one.stages.convert / "ct_hu.nii.gz")
    to_crop = inverse(np.asarray(attributes.transform, dtype=np.float64))
    inner = Volume(one.probability, sub_grid(stored, (a, b, c)))
    found = resample(inner, grid, to_crop, Sampling("linear", 0.0))
    return found >= manifest.threshold, grid


def _write_seg(
    one: Prediction, mask: npt.NDArray[np.bool_], grid: Grid, path: Path, *, identity: bool
) -> None:
    from pipeline.dicom.contours.seg_write import write_segmentation
    from pipeline.dicom.series.index_file import chosen, files_of, read_index

    index = read_index(one.stages.convert.parents[1] / "index" / one.patient_id)
    write_segmentation(mask, grid, files_of(index, chosen(index, "ct")), path, identity=identity)


def _plain(one: Prediction) -> dict[str, Any]:
    return {
        "patient_id": one.patient_id,
        "risk": one.risk,
        "spread": one.spread,
        "percentile": one.percentile,
        "risk_group": one.group,
        "survival": {f"{days:g}": None if math.isnan(p) else p for days, p in one.survival.items()},
        "labels": one.labels,
        "members": one.members,
        "boxes": None if one.boxes is None else len(one.boxes),
        "contour": one.contour,
        "measures": one.measures,
        "flags": [asdict(flag) for flag in one.flags],
        "warnings": sum(flag.level == "warning" for flag in one.flags),
    }


def _origin(manifest: Manifest) -> dict[str, Any]:
    return {"study": manifest.study["name"], "model": manifest.model, "software": manifest.software}


def page(manifest: Manifest, one: Prediction, volume: float | None) -> str:
    """The page; every value is escaped by the template engine.

    Args:
        manifest: Of the bundle.
        one: The prediction.
        volume: Of the mask on the CT's grid (mL), or None.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template("patient.html.j2").render(
        manifest=manifest,
        one=one,
        volume=volume,
        picture=_picture(manifest, one),
        measures=[(label(name), value) for name, value in one.measures.items()],
        warnings=sum(flag.level == "warning" for flag in one.flags),
    )


def _picture(manifest: Manifest, one: Prediction) -> str:
    """PNG (base64) of the crop's channels in one slice, with the mask's outline; empty without mask."""
    from matplotlib.figure import Figure

    from pipeline.store.crops import read_crop

    if one.probability is None:
        return ""
    crop = read_crop(one.stages.crop)
    mask = one.probability >= manifest.threshold
    margin = (crop.image.shape[-1] - mask.shape[-1]) // 2
    at = int(mask.sum(axis=(1, 2)).argmax()) if mask.any() else mask.shape[0] // 2
    figure = Figure(figsize=(3.4 * len(crop.image), 3.4), layout="constrained")
    for axis, name, values in zip(
        figure.subplots(1, len(crop.image), squeeze=False)[0], manifest.channels, crop.image, strict=True
    ):
        shown = values[at + (margin if len(values) > 1 else 0)]
        shown = shown[margin : margin + mask.shape[1], margin : margin + mask.shape[2]]
        low, high = (-160, 240) if name == "ct" else (0, max(float(shown.max()), 1e-3))
        axis.imshow(shown, cmap="gray" if name == "ct" else "gray_r", vmin=low, vmax=high)
        if mask[at].any():
            axis.contour(mask[at], levels=[0.5], colors="red", linewidths=1)
        axis.set_axis_off()
        axis.set_title(name.upper(), fontsize=9)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=100, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")
