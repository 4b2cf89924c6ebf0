"""Which features survive another observer: contours perturbed, agreement per feature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from pipeline.errors import TableError
from pipeline.radiomics.extract import prepared
from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import BoolArray, Picture, Spacing, lesion_box, widened
from pipeline.radiomics.sets import feature_columns, load_feature_set, settings_hash
from pipeline.radiomics.sources import PatientImages, read_crop
from pipeline.settings.radiomics import FeatureSet, RadiomicsSettings

if TYPE_CHECKING:
    import pandas as pd

UNCHANGED = "as drawn"


def perturbed(mask: BoolArray, spacing_mm: Spacing, by_mm: float) -> Iterator[tuple[str, BoolArray]]:
    """A contour as drawn, grown, shrunk, and moved both ways along each axis.

    Growing takes voxels whose centres lie within the distance of the contour's voxels,
    shrinking leaves those farther than the distance from voxels outside (Zwanenburg et al.,
    Sci Rep 2019;9:614, on perturbation in place of repeated contours). Where all
    axes' voxels are larger than the distance, one voxel of the finest axis is taken; a move is
    a whole number of voxels, at least one. What is moved out of the image is lost;
    a mask that nothing is left of is not yielded.

    Args:
        mask: Lesion (z, y, x), not empty.
        spacing_mm: Distance of voxel centres (z, y, x).
        by_mm: Distance.
    """
    yield UNCHANGED, mask
    yield "grown", _grown(mask, spacing_mm, by_mm)
    shrunk = _shrunk(mask, spacing_mm, by_mm)
    if shrunk.any():
        yield "shrunk", shrunk
    for axis, name in enumerate("zyx"):
        steps = max(1, round(by_mm / spacing_mm[axis]))
        for sign in (-1, 1):
            moved = _moved(mask, axis, sign * steps)
            if moved.any():
                yield f"moved {'+' if sign > 0 else '-'}{name}", moved


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


def perturbed_features(
    images: PatientImages, feature_set: FeatureSet, settings: RadiomicsSettings
) -> list[dict[str, float | str]]:
    """A patient's features under each perturbation of the contour.

    Returns:
        A row per perturbation: `patient_id`, `perturbation`, the set's columns; none where
        the patient is excluded or has no contour.

    Raises:
        RadiomicsError: The images cannot be used.
    """
    rows: list[dict[str, float | str]] = []
    if not images.contour:
        return rows
    for name, masks in _perturbations(images.pictures, settings.perturb_mm):
        changed = {m: replace(p, mask=masks[m]) for m, p in images.pictures.items()}
        pictures = prepared(replace(images, pictures=changed), feature_set, settings)
        values = extract_features(pictures, feature_set, settings.min_voxels).values
        rows.append({"patient_id": images.patient_id, "perturbation": name, **values})
    return rows


def _perturbations(
    pictures: Mapping[str, Picture], by_mm: float
) -> Iterator[tuple[str, dict[str, BoolArray]]]:
    """Perturbations that every picture's contour survives."""
    found = {m: dict(perturbed(p.mask, p.spacing_mm, by_mm)) for m, p in pictures.items()}
    first = next(iter(found.values()))
    for name in first:
        if all(name in masks for masks in found.values()):
            yield name, {modality: masks[name] for modality, masks in found.items()}


def stability_patient(crop: Path, out: Path, settings: RadiomicsSettings) -> None:
    """Write a patient's features under perturbed contours: parquet, a row per perturbation.

    Patients excluded before or without a contour get no rows.

    Args:
        crop: Zarr store of the crop stage.
        out: Parquet file.
        settings: The study's radiomics section.

    Raises:
        RadiomicsError: The crop cannot be used.
    """
    import json

    import pyarrow as pa
    import pyarrow.parquet as pq

    feature_set = load_feature_set(settings)
    images = read_crop(crop)
    rows = perturbed_features(images, feature_set, settings)
    fields = [pa.field(name, pa.string()) for name in ("patient_id", "perturbation")]
    fields += [pa.field(column, pa.float64()) for column in feature_columns(feature_set)]
    told = {b"settings_hash": settings_hash(settings, feature_set), b"status": asdict(images.status)}
    schema = pa.schema(fields, metadata={key: json.dumps(value) for key, value in told.items()})
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)


@dataclass(frozen=True)
class Agreement:
    """Intraclass correlation of one feature.

    Attributes:
        icc: ICC(1,1).
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    icc: float
    low: float
    high: float


def intraclass_correlation(values: npt.ArrayLike) -> Agreement:
    """ICC(1,1): one-way random effects, absolute agreement of single measurements.

    Shrout & Fleiss, Psychol Bull 1979;86:420-428; interval from the F distribution (McGraw &
    Wong, Psychol Methods 1996;1:30-46).

    Args:
        values: Patients × perturbations (n, k), n ≥ 2, k ≥ 2, finite.

    Returns:
        1 would be perfect agreement; NaN throughout where all values are the same.

    Raises:
        TableError: There are fewer than two patients or perturbations.
    """
    from scipy.stats import f

    table = np.asarray(values, dtype=np.float64)
    n, k = table.shape if table.ndim == 2 else (0, 0)
    if n < 2 or k < 2:
        raise TableError(
            "agreement needs at least two patients and two perturbations",
            got=f"{n} patients, {k} perturbations",
        )
    means = table.mean(axis=1)
    between = k * float(((means - means.mean()) ** 2).sum()) / (n - 1)
    within = float(((table - means[:, None]) ** 2).sum()) / (n * (k - 1))
    if between == 0 and within == 0:
        return Agreement(float("nan"), float("nan"), float("nan"))
    if within == 0:
        return Agreement(1.0, 1.0, 1.0)
    ratio = between / within
    freedom = (n - 1, n * (k - 1))
    ends = ratio / f.ppf(0.975, *freedom), ratio * f.ppf(0.975, *freedom[::-1])
    icc, low, high = ((r - 1) / (r + k - 1) for r in (ratio, *ends))
    return Agreement(float(icc), float(low), float(high))


def gather_stability(parquets: list[Path], out: Path) -> None:
    """Write each feature's agreement over patients: CSV `feature, icc, icc_low, icc_high, patients`.

    Give development patients only: the filter then knows nothing of external ones. Outcomes
    play no part. A feature counts the patients whose values are finite under all
    perturbations; with fewer than two its agreement is blank.

    Args:
        parquets: Of :func:`stability_patient`.
        out: CSV file.

    Raises:
        TableError: Files were made with different settings.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    hashes = {(pq.read_schema(path).metadata or {}).get(b"settings_hash") for path in parquets}
    if len(hashes) != 1:
        raise TableError(
            "stability files were made with different settings, or there are none",
            where=out.name,
            got=f"{len(hashes)} settings",
            action="run the rule again for all patients",
        )
    frame = pd.concat([pd.read_parquet(path) for path in parquets], ignore_index=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    _agreements(frame).to_csv(out, index=False)


def _agreements(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    counts = frame.groupby("patient_id")["perturbation"].nunique()
    # A tiny lesion that does not survive shrinking would leave a hole in the table.
    frame = frame[frame["patient_id"].isin(counts.index[counts == counts.max()])]
    rows = []
    for feature in (c for c in frame.columns if c not in ("patient_id", "perturbation")):
        table = frame.pivot(index="patient_id", columns="perturbation", values=feature).dropna()
        enough = len(table) >= 2 and table.shape[1] >= 2
        found = intraclass_correlation(table.to_numpy()) if enough else Agreement(*[float("nan")] * 3)
        rows.append((feature, found.icc, found.low, found.high, len(table)))
    return pd.DataFrame(rows, columns=["feature", "icc", "icc_low", "icc_high", "patients"])


def stable_features(stability: Path, min_icc: float) -> Callable[[str], bool]:
    """A test of column names: whether a feature is stable enough, or was not measured (`pet_index_*`).

    Args:
        stability: CSV of :func:`gather_stability`.
        min_icc: Least lower end of the 95 % interval; 0 or less keeps all.
    """
    import pandas as pd

    if min_icc <= 0:
        return lambda column: True
    table = pd.read_csv(stability).set_index("feature")["icc_low"]
    unstable = set(table.index[~(table >= min_icc)])
    return lambda column: column not in unstable
