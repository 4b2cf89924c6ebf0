"""Feature extraction against plain PyRadiomics calls, both in one run on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.radiomics_features
    OMP_NUM_THREADS=1 python -m benchmarks.radiomics_features --patients 6

The plain call is what a user of PyRadiomics writes: one extractor per modality, original image
and eight wavelets, the whole 112×128×128 crop. The features are those of the `deepmts` set. The
second form compares N patients on two processes with N plain calls on two processes.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import Picture
from pipeline.radiomics.sets import load_feature_set
from pipeline.settings.radiomics import FeatureSet, Modality, RadiomicsSettings

Images = dict[str, np.ndarray]
SHAPE = (112, 128, 128)
SPACING = (1.0, 1.0, 1.0)


def plain_features(
    feature_set: FeatureSet,
    image: np.ndarray,
    mask: np.ndarray,
    spacing_mm: tuple[float, float, float],
    modality: Modality,
) -> dict[str, float]:
    """A set's features of one modality by PyRadiomics' own extractor on the whole image."""
    import SimpleITK as sitk
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    pictures = [sitk.GetImageFromArray(image), sitk.GetImageFromArray(mask.astype(np.uint8))]
    for picture in pictures:
        picture.SetSpacing([float(s) for s in spacing_mm[::-1]])
    found: dict[str, float] = {}
    for number, rule in enumerate(feature_set.discretisations[modality]):
        options: dict[str, Any] = {"binCount": rule.bins} if rule.bins else {"binWidth": rule.bin_width}
        if feature_set.resample_mm:
            options["resampledPixelSpacing"] = [feature_set.resample_mm] * 3
        extractor = RadiomicsFeatureExtractor(additionalInfo=False, **options)
        extractor.disableAllImageTypes()
        extractor.disableAllFeatures()
        if feature_set.original:
            extractor.enableImageTypeByName("Original")
        if feature_set.wavelet:
            extractor.enableImageTypeByName("Wavelet", customArgs={"wavelet": feature_set.wavelet})
        wanted = {kind: list(names) for kind, names in feature_set.texture.items()}
        if number == 0:
            wanted |= {"firstorder": list(feature_set.firstorder), "shape": list(feature_set.shape)}
        extractor.enableFeaturesByName(**{kind: names for kind, names in wanted.items() if names})
        for key, value in extractor.execute(*pictures).items():
            name, kind, feature = key.split("_", 2)
            suffix = f"-{rule.suffix}" if rule.suffix and kind not in ("firstorder", "shape") else ""
            owner = "ct" if kind == "shape" and "ct" in feature_set.modalities else modality
            found[f"{owner}_{name}{suffix}_{kind}_{feature}"] = float(np.squeeze(value))
    return found


def synthetic(voxels: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> tuple[Images, np.ndarray]:
    """PET (SUV 0 … 15) and CT (soft tissue, noise 12 HU) with a knobbly lesion of so many voxels."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    radius = (3 * voxels / (4 * np.pi)) ** (1 / 3)

    def smooth(sigma: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
        return field / field.std()

    centred = [z - n / 2 for z, n in zip(np.indices(shape), shape, strict=True)]
    distance = np.sqrt(sum(z**2 for z in centred)) + smooth(3) * radius / 30
    mask = distance <= np.partition(distance.ravel(), voxels)[voxels]
    pet = 2 + 8 * np.exp(-((distance / radius) ** 2)) + 1.5 * smooth(3) + 0.3 * rng.normal(size=shape)
    ct = 45 + 25 * smooth(2) + 12 * rng.normal(size=shape) - 150 * (distance > 1.3 * radius)
    return {"pet": np.maximum(pet, 0).astype(np.float32), "ct": ct.astype(np.float32)}, mask


def pictures(images: Images, mask: np.ndarray, spacing_mm: tuple[float, float, float]) -> dict[str, Picture]:
    """Arrays as the extraction takes them."""
    inside = np.ones(mask.shape, dtype=bool)
    return {name: Picture(image, mask, inside, spacing_mm) for name, image in images.items()}


def ours(feature_set: FeatureSet, images: Images, mask: np.ndarray) -> dict[str, float]:
    """The pipeline's extraction."""
    return extract_features(pictures(images, mask, SPACING), feature_set).values


def plain(feature_set: FeatureSet, images: Images, mask: np.ndarray) -> dict[str, float]:
    """A plain call per modality."""
    found: dict[str, float] = {}
    for modality in feature_set.modalities:
        found |= plain_features(feature_set, images[modality], mask, SPACING, modality)
    return found


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, tuple[float, float]]:
    start = time.perf_counter(), time.process_time()
    result = call(*arguments)
    return result, (time.perf_counter() - start[0], time.process_time() - start[1])


def one_core(feature_set: FeatureSet, sizes: list[int]) -> None:
    """Print both processor times, their ratio and the largest relative difference, by lesion size."""
    print(f"{'voxels':>8} {'plain s':>8} {'ours s':>8} {'ratio':>6} {'largest difference':>19}")
    for voxels in sizes:
        images, mask = synthetic(voxels)
        ours(feature_set, images, mask)  # libraries are loaded before the clock runs
        reference, (_, slow) = _timed(plain, feature_set, images, mask)
        found, (_, fast) = _timed(ours, feature_set, images, mask)
        gap = max(abs(found[k] - v) / max(abs(v), 1e-3) for k, v in reference.items())
        print(f"{mask.sum():8d} {slow:8.2f} {fast:8.2f} {slow / fast:6.2f} {gap:19.1e}", flush=True)


def _work(job: tuple[str, int, int]) -> int:
    way, voxels, seed = job
    feature_set = load_feature_set(RadiomicsSettings(feature_set="deepmts"))
    images, mask = synthetic(voxels, seed=seed)
    return len({"ours": ours, "plain": plain}[way](feature_set, images, mask))


def two_cores(patients: int, voxels: int) -> None:
    """Print the times of N patients on two processes, both ways."""
    times = {}
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for way in ("ours", "plain"):
            pool.map(_work, [(way, 100, seed) for seed in range(2)], chunksize=1)
            jobs = [(way, voxels, seed) for seed in range(patients)]
            _, (times[way], _) = _timed(lambda j=jobs: pool.map(_work, j, chunksize=1))
    ratio = times["plain"] / times["ours"]
    print(
        f"{patients} patients of {voxels} voxels on 2 processes: plain {times['plain']:.1f} s, "
        f"ours {times['ours']:.1f} s, ratio {ratio:.2f}"
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="deepmts", help="feature set")
    parser.add_argument("--voxels", type=int, nargs="+", default=[2_000, 20_000, 100_000, 500_000])
    parser.add_argument("--patients", type=int, default=0, help="N patients on two processes instead")
    chosen = parser.parse_args()
    if chosen.patients:
        for voxels in chosen.voxels:
            two_cores(chosen.patients, voxels)
    else:
        one_core(load_feature_set(RadiomicsSettings(feature_set=chosen.set)), chosen.voxels)


if __name__ == "__main__":
    main()
