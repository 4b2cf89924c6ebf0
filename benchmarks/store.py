"""Load 200 stored patients (128×128×112, PET and CT, mask) into memory, beside plain NumPy files.

Run: python -m benchmarks.store. Twenty patients are written and each is read ten times, so
that the disk is warm; the ratio against `numpy.load` of the same bytes is the figure.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, write_crop
from pipeline.store.load import load_cohort

SHAPE, WRITTEN, READ = (112, 128, 128), 20, 200


def main() -> None:
    """Print seconds of both, and their ratio."""
    rng = np.random.default_rng(0)
    image = np.cumsum(rng.normal(0, 1, (2, *SHAPE)), axis=-1).astype(np.float32)
    zeros = np.zeros(SHAPE, np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for i in range(WRITTEN):
            attributes = CropAttributes(f"P{i}", ("pet", "ct"), ("g/mL", "HU"), (1.0, 1.0, 1.0))
            write_crop(Path(folder, f"P{i}.zarr"), Crop(image + i, zeros, zeros + 1, attributes))
            np.savez(Path(folder, f"P{i}.npz"), image=image + i, mask=zeros, inside=zeros + 1)
        started, busy = time.perf_counter(), time.process_time()
        for first in range(0, READ, WRITTEN):
            load_cohort(
                [Path(folder, f"P{i % WRITTEN}.zarr") for i in range(first, first + WRITTEN)], readers=2
            )
        ours, processor = time.perf_counter() - started, time.process_time() - busy
        started = time.perf_counter()
        for i in range(READ):
            with np.load(Path(folder, f"P{i % WRITTEN}.npz")) as stored:
                _ = {name: stored[name] for name in stored.files}
        plain = time.perf_counter() - started
    print(
        f"{READ} patients: store {ours:.1f} s (processor {processor:.1f} s on 2 readers), "
        f"uncompressed .npz {plain:.1f} s, ratio {ours / plain:.2f}"
    )


if __name__ == "__main__":
    main()
