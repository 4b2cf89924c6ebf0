"""Feature extraction against plain PyRadiomics calls, both in one run on one core.

    OMP_NUM_THREADS=1 python -m benchmarks.radiomics_features
    OMP_NUM_THREADS=1 python -m benchmarks.radiomics_features --patients 2 4 8

The plain call is what a user of PyRadiomics writes: one extractor per modality, original image
and eight wavelets, the whole 112×128×128 crop. The features are those of the `deepmts` set. The
second form compares N patients on two processes with N plain calls on two processes; several
numbers show that time is linear in patients.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from pipeline.radiomics.features import extract_features
from pipeline.radiomics.images import FeatureImage
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
    image_and_mask = [sitk.GetImageFromArray(image), sitk.GetImageFromArray(mask.astype(np.uint8))]
    for source in image_and_mask:
        source.SetSpacing([float(s) for s in spacing_mm[::-1]])
    values: dict[str, float] = {}
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
        features = {kind: list(names) for kind, names in feature_set.texture.items()}
        if number == 0:
            features |= {"firstorder": list(feature_set.firstorder), "shape": list(feature_set.shape)}
        extractor.enableFeaturesByName(**{kind: names for kind, names in features.items() if names})
        for key, value in extractor.execute(*image_and_mask).items():
            name, kind, feature = key.split("_", 2)
            suffix = f"-{rule.suffix}" if rule.suffix and kind not in ("firstorder", "shape") else ""
            owner = "ct" if kind == "shape" and "ct" in feature_set.modalities else modality
            values[f"{owner}_{name}{suffix}_{kind}_{feature}"] = float(np.squeeze(value))
    return values


def synthetic(voxels: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> tuple[Images, np.ndarray]:
    """PET (SUV 0 … 15) and CT (soft tissue, noise 12 HU) with an irregular lesion of `voxels` voxels."""
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


def feature_images(
    images: Images, mask: np.ndarray, spacing_mm: tuple[float, float, float]
) -> dict[str, FeatureImage]:
    """Arrays as the input of the extraction."""
    inside = np.ones(mask.shape, dtype=bool)
    return {name: FeatureImage(values, mask, inside, spacing_mm) for name, values in images.items()}


def ours(feature_set: FeatureSet, images: Images, mask: np.ndarray) -> dict[str, float]:
    """The pipeline's extraction."""
    return extract_features(feature_images(images, mask, SPACING), feature_set).values


def plain(feature_set: FeatureSet, images: Images, mask: np.ndarray) -> dict[str, float]:
    """A plain call per modality."""
    values: dict[str, float] = {}
    for modality in feature_set.modalities:
        values |= plain_features(feature_set, images[modality], mask, SPACING, modality)
    return values


def _timed(call: Callable[..., Any], *arguments: Any) -> tuple[Any, tuple[float, float]]:
    start = time.perf_counter(), time.process_time()
    result = call(*arguments)
    return result, (time.perf_counter() - start[0], time.process_time() - start[1])


def one_core(feature_set: FeatureSet, sizes: list[int]) -> None:
    """Print both processor times, their ratio and the largest relative difference, by lesion size."""
    print(f"{'voxels':>8} {'plain s':>8} {'ours s':>8} {'ratio':>6} {'largest difference':>19}")
    for voxels in sizes:
        images, mask = synthetic(voxels)
        ours(feature_set, images, mask)  # loads the libraries before time is measured
        reference, (_, slow) = _timed(plain, feature_set, images, mask)
        values, (_, fast) = _timed(ours, feature_set, images, mask)
        gap = max(abs(values[k] - v) / max(abs(v), 1e-3) for k, v in reference.items())
        print(f"{mask.sum():8d} {slow:8.2f} {fast:8.2f} {slow / fast:6.2f} {gap:19.1e}", flush=True)


@lru_cache(maxsize=1)
def _case(voxels: int) -> tuple[Images, np.ndarray]:
    return synthetic(voxels)


def _work(job: tuple[str, int, str]) -> float:
    way, voxels, name = job
    feature_set = load_feature_set(RadiomicsSettings(feature_set=name))
    images, mask = _case(voxels)
    _, (_, seconds) = _timed({"ours": ours, "plain": plain}[way], feature_set, images, mask)
    return seconds


def two_cores(patients: list[int], voxels: int, name: str) -> None:
    """Print times of N patients on two processes, both ways: elapsed, and of the processors.

    Where other programs run too, the processors' time is the one to read.
    """
    print(f"{voxels} voxels, two processes: elapsed s (processor s)")
    print(f"{'patients':>8} {'plain':>17} {'ours':>17} {'ratio':>13} {'ours, each':>12}")
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for way in ("ours", "plain"):
            pool.map(_work, [(way, voxels, name)] * 2, chunksize=1)
        for number in patients:
            times = {}
            for way in ("plain", "ours"):
                jobs = [(way, voxels, name)] * number
                spent, (elapsed, _) = _timed(lambda j=jobs: pool.map(_work, j, chunksize=1))
                times[way] = (elapsed, sum(spent))
            slow, fast = times["plain"], times["ours"]
            print(
                f"{number:8d} {slow[0]:8.1f} ({slow[1]:6.1f}) {fast[0]:8.1f} ({fast[1]:6.1f})"
                f" {slow[0] / fast[0]:5.2f} ({slow[1] / fast[1]:5.2f}) {fast[1] / number:10.2f} s",
                flush=True,
            )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set", default="deepmts", help="feature set")
    parser.add_argument("--voxels", type=int, nargs="+", default=[2_000, 20_000, 100_000, 500_000])
    parser.add_argument("--patients", type=int, nargs="+", help="N patients on two processes instead")
    chosen = parser.parse_args()
    if chosen.patients:
        for voxels in chosen.voxels:
            two_cores(chosen.patients, voxels, chosen.set)
    else:
        one_core(load_feature_set(RadiomicsSettings(feature_set=chosen.set)), chosen.voxels)


if __name__ == "__main__":
    main()
