"""Texture features by the standard, from matrices that are merged in one of six ways.

Zwanenburg et al., reference manual (arXiv 1612.07003), sections 3.6 to 3.11.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.radiomics.standard_matrices import (
    Discretised,
    SizeMatrix,
    cooccurrence,
    dependence,
    run_lengths,
    tone_differences,
    zone_matrix,
    zones,
)
from pipeline.settings.radiomics import Merging, StandardFamily

Array = npt.NDArray[np.float64]
COOCCURRENCE = (
    "joint_max", "joint_avg", "joint_var", "joint_entr", "diff_avg", "diff_var", "diff_entr",
    "sum_avg", "sum_var", "sum_entr", "energy", "contrast", "dissimilarity", "inv_diff",
    "inv_diff_norm", "inv_diff_mom", "inv_diff_mom_norm", "inv_var", "corr", "auto_corr",
    "clust_tend", "clust_shade", "clust_prom", "info_corr1", "info_corr2",
)  # fmt: skip
RUNS = (
    "sre", "lre", "lgre", "hgre", "srlge", "srhge", "lrlge", "lrhge", "glnu", "glnu_norm", "rlnu",
    "rlnu_norm", "r_perc", "gl_var", "rl_var", "rl_entr",
)  # fmt: skip
ZONES = (
    "sze", "lze", "lgze", "hgze", "szlge", "szhge", "lzlge", "lzhge", "glnu", "glnu_norm", "zsnu",
    "zsnu_norm", "z_perc", "gl_var", "zs_var", "zs_entr",
)  # fmt: skip
DISTANCES = (
    "sde", "lde", "lgze", "hgze", "sdlge", "sdhge", "ldlge", "ldhge", "glnu", "glnu_norm", "zdnu",
    "zdnu_norm", "z_perc", "gl_var", "zd_var", "zd_entr",
)  # fmt: skip
DEPENDENCE = (
    "lde", "hde", "lgce", "hgce", "ldlge", "ldhge", "hdlge", "hdhge", "glnu", "glnu_norm", "dcnu",
    "dcnu_norm", "dc_perc", "gl_var", "dc_var", "dc_entr", "dc_energy",
)  # fmt: skip
TONES = ("coarseness", "contrast", "busyness", "complexity", "strength")
TEXTURE_FAMILIES: dict[StandardFamily, tuple[str, ...]] = {
    "cm": COOCCURRENCE, "rlm": RUNS, "szm": ZONES, "dzm": DISTANCES, "ngt": TONES, "ngl": DEPENDENCE,
}  # fmt: skip
DIRECTIONAL: tuple[StandardFamily, ...] = ("cm", "rlm")
"""Families whose matrices are counted by direction; the others are merged over slices only."""


def merging_tags(family: StandardFamily, merging: tuple[Merging, ...]) -> tuple[str, ...]:
    """The endings of a family's columns: the ways of merging, without the direction where there is none."""
    if family in DIRECTIONAL:
        return merging
    return tuple(dict.fromkeys(how.rsplit("_", 1)[0] for how in merging))


def texture_family(
    lesion: Discretised, family: StandardFamily, merging: tuple[Merging, ...]
) -> dict[str, float]:
    """The features of a family by `{name}_{merging}`, e.g. `joint_avg_3D_avg`.

    Args:
        lesion: Grey levels.
        family: `cm`, `rlm`, `szm`, `dzm`, `ngt` or `ngl`.
        merging: The ways of merging, all of them by slice or none.

    Returns:
        Means over the matrices that hold anything; NaN where none does, or a formula has no value.
    """
    values: dict[str, float] = {}
    with np.errstate(all="ignore"):
        for how in merging_tags(family, merging):
            features = _features(lesion, family, how)
            values |= {f"{name}_{how}": mean_of(features[name]) for name in TEXTURE_FAMILIES[family]}
    return values


def mean_of(values: Array) -> float:
    """Mean over matrices, those without a value left out."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _features(lesion: Discretised, family: StandardFamily, how: str) -> dict[str, Array]:
    grey = lesion.levels.present.astype(np.float64)
    if family == "cm":
        return cooccurrence_features(merged(cooccurrence(lesion), how), grey)
    if family == "ngt":
        table = tone_differences(lesion)
        return tone_features(table.sum(axis=0, keepdims=True) if how == "2_5D" else table, grey)
    if family == "rlm":
        matrix = _run_matrix(lesion, how)
    elif family == "ngl":
        matrix = dependence(lesion)
    else:
        parts = zones(lesion)
        matrix = zone_matrix(
            lesion, parts.rank, parts.size if family == "szm" else parts.distance, parts.part
        )
    if how == "2_5D":
        matrix = SizeMatrix(
            matrix.counts.sum(axis=0, keepdims=True), matrix.sizes, matrix.voxels.sum(keepdims=True)
        )
    values = size_features(matrix, grey)
    return dict(zip(TEXTURE_FAMILIES[family], values, strict=False))


def merged(counts: Array, how: str) -> Array:
    """Matrices (m, …) of counts (parts, directions, …), merged as one of :data:`Merging` says."""
    if how.startswith("2_5D"):
        counts = counts.sum(axis=0, keepdims=True)
    if how.endswith("comb"):
        counts = counts.sum(axis=1, keepdims=True)
    return counts.reshape(-1, *counts.shape[2:])


def _run_matrix(lesion: Discretised, how: str) -> SizeMatrix:
    counts, voxels = run_lengths(lesion)
    # A voxel belongs to a run of each direction.
    of_each = np.broadcast_to(voxels[:, None], counts.shape[:2])
    sizes = np.arange(1, counts.shape[-1] + 1, dtype=np.float64)
    return SizeMatrix(merged(counts, how), sizes, merged(of_each, how))


def _entropy(share: Array, axes: tuple[int, ...]) -> Array:
    terms = np.where(share > 0, share * np.log2(np.where(share > 0, share, 1.0)), 0.0)
    return np.asarray(-terms.sum(axis=axes))


def _by_value(shares: Array, values: Array) -> tuple[Array, Array]:
    """Sums of shares (m, n, n) over the pairs of levels with the same value (n, n): (m, k) and the values (k,)."""
    order = np.argsort(values.ravel(), kind="stable")
    unique, starts = np.unique(values.ravel()[order], return_index=True)
    flat = shares.reshape(len(shares), -1)[:, order]
    return np.add.reduceat(flat, starts, axis=1), unique


def cooccurrence_features(counts: Array, grey: Array) -> dict[str, Array]:
    """Features of co-occurrence matrices (section 3.6): those of :data:`COOCCURRENCE`.

    Args:
        counts: Symmetrical counts (m, n, n).
        grey: Levels of rows and columns (n,), ascending.

    Returns:
        A value per matrix (m,), NaN for one without pairs.
    """
    total = counts.sum(axis=(1, 2))
    p = counts[total > 0] / total[total > 0][:, None, None]
    if not len(p):
        return dict.fromkeys(COOCCURRENCE, np.full(1, np.nan))
    i, j = grey[:, None], grey[None, :]
    gap, levels = np.abs(i - j), grey[-1]

    def mean(weight: Array) -> Array:
        return np.asarray(np.einsum("mij,ij->m", p, np.broadcast_to(weight, gap.shape)))

    margin = p.sum(axis=2)
    mu = margin @ grey
    variance = margin @ grey**2 - mu**2
    difference, d = _by_value(p, gap)
    summed, s = _by_value(p, i + j)
    diff_avg, sum_avg = difference @ d, summed @ s
    centred = s[None, :] - 2 * mu[:, None]
    joint_entropy, margin_entropy = _entropy(p, (1, 2)), _entropy(margin, (1,))
    # The joint entropy of independent levels, both ways that the standard writes it.
    independent = 2 * margin_entropy
    auto = mean(i * j)
    return {
        "joint_max": p.max(axis=(1, 2)),
        "joint_avg": mu,
        "joint_var": variance,
        "joint_entr": joint_entropy,
        "diff_avg": diff_avg,
        "diff_var": difference @ d**2 - diff_avg**2,
        "diff_entr": _entropy(difference, (1,)),
        "sum_avg": sum_avg,
        "sum_var": summed @ s**2 - sum_avg**2,
        "sum_entr": _entropy(summed, (1,)),
        "energy": (p**2).sum(axis=(1, 2)),
        "contrast": mean(gap**2),
        "dissimilarity": mean(gap),
        "inv_diff": mean(1 / (1 + gap)),
        "inv_diff_norm": mean(1 / (1 + gap / levels)),
        "inv_diff_mom": mean(1 / (1 + gap**2)),
        "inv_diff_mom_norm": mean(1 / (1 + gap**2 / levels**2)),
        "inv_var": mean(np.divide(1.0, gap**2, out=np.zeros_like(gap), where=gap > 0)),
        "corr": (auto - mu**2) / variance,
        "auto_corr": auto,
        "clust_tend": (summed * centred**2).sum(axis=1),
        "clust_shade": (summed * centred**3).sum(axis=1),
        "clust_prom": (summed * centred**4).sum(axis=1),
        "info_corr1": (joint_entropy - independent) / margin_entropy,
        "info_corr2": np.sqrt(np.clip(1 - np.exp(-2 * (independent - joint_entropy)), 0, None)),
    }


def size_features(matrix: SizeMatrix, grey: Array) -> list[Array]:
    """The 17 features that run, zone, distance and dependence matrices share (sections 3.7 to 3.9, 3.11).

    Returns:
        Values per matrix, in the order of :data:`DEPENDENCE`; the other families have no energy.
    """
    counts = matrix.counts
    number = counts.sum(axis=(1, 2))
    counts, voxels, number = counts[number > 0], matrix.voxels[number > 0], number[number > 0]
    g, size = grey[:, None], matrix.sizes[None, :]
    p = counts / number[:, None, None]
    by_level, by_size = counts.sum(axis=2), counts.sum(axis=1)

    def mean(weight: Array) -> Array:
        return np.asarray(np.einsum("mij,ij->m", p, np.broadcast_to(weight, p.shape[1:])))

    return [
        mean(1 / size**2),
        mean(size**2),
        mean(1 / g**2),
        mean(g**2),
        mean(1 / (g**2 * size**2)),
        mean(g**2 / size**2),
        mean(size**2 / g**2),
        mean(size**2 * g**2),
        (by_level**2).sum(axis=1) / number,
        (by_level**2).sum(axis=1) / number**2,
        (by_size**2).sum(axis=1) / number,
        (by_size**2).sum(axis=1) / number**2,
        number / voxels,
        mean(g**2) - mean(g) ** 2,
        mean(size**2) - mean(size) ** 2,
        _entropy(p, (1, 2)),
        (p**2).sum(axis=(1, 2)),
    ]


def tone_features(table: Array, grey: Array) -> dict[str, Array]:
    """Features of neighbourhood grey tone differences (section 3.10): those of :data:`TONES`.

    Args:
        table: Voxels with neighbours, and sums of differences, by level (m, n, 2).
        grey: Levels (n,).
    """
    rows = [
        _tones_of(numbers, sums, grey) for numbers, sums in np.moveaxis(table, -1, 1) if numbers.sum() > 0
    ]
    values = np.array(rows) if rows else np.full((1, len(TONES)), np.nan)
    return dict(zip(TONES, values.T, strict=True))


def _tones_of(numbers: Array, sums: Array, grey: Array) -> list[float]:
    present = numbers > 0
    total, p, s, g = numbers.sum(), numbers[present] / numbers.sum(), sums[present], grey[present]
    levels = len(p)
    pi, pj, gap = p[:, None], p[None, :], g[:, None] - g[None, :]
    weighted = p * g
    # Without differences coarseness is set to 10⁶, as the standard has it; the others are 0.
    spread = float((pi * pj * gap**2).sum()) / (levels * (levels - 1)) if levels > 1 else 0.0
    busy = float(np.abs(weighted[:, None] - weighted[None, :]).sum())
    weighted_sum = float((p * s).sum())
    ps = p * s
    return [
        1 / weighted_sum if weighted_sum > 0 else 1e6,
        spread * float(s.sum()) / total,
        weighted_sum / busy if levels > 1 and busy > 0 else 0.0,
        float((np.abs(gap) * (ps[:, None] + ps[None, :]) / (pi + pj)).sum()) / total,
        float(((pi + pj) * gap**2).sum()) / float(s.sum()) if s.sum() > 0 else 0.0,
    ]
