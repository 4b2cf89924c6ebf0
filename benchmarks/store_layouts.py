"""Chunks, shards and codecs of the crop store: what each costs to write, to read, and to read a patch of.

Run: python -m benchmarks.store_layouts. One crop of 2×112×128×128 float32 (smooth anatomy with
noise) is written and read in each layout, ten times, alternating; processor time and wall
time are medians, so that a busy machine moves all rows alike.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SHAPE = (2, 112, 128, 128)
PATCH = (slice(0, 2), slice(40, 72), slice(48, 80), slice(48, 80))
ROUNDS = 10


@dataclass(frozen=True)
class Layout:
    """A way to store an image.

    Attributes:
        name: For the table.
        chunks: Of the array.
        shards: Files that hold several chunks; None: a file per chunk.
        codec: `lz4` or `zstd`.
    """

    name: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...] | None = None
    codec: str = "lz4"


LAYOUTS = (
    Layout("a chunk per channel, lz4 (stored so)", (1, *SHAPE[1:])),
    Layout("a chunk per channel, zstd", (1, *SHAPE[1:]), codec="zstd"),
    Layout("one chunk, lz4", SHAPE),
    Layout("2×16×64×64, lz4", (2, 16, 64, 64)),
    Layout("1×56×64×64, lz4", (1, 56, 64, 64)),
    Layout("2×16×64×64 in one shard, lz4", (2, 16, 64, 64), SHAPE),
    Layout("1×56×64×64 in a shard per channel, lz4", (1, 56, 64, 64), (1, *SHAPE[1:])),
)


def picture() -> np.ndarray:
    """A channel of noisy CT and one of smooth PET."""
    rng = np.random.default_rng(0)
    z, y, x = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j, -1 : 1 : SHAPE[3] * 1j]
    body = z**2 / 4 + y**2 + x**2 < 0.8
    ct = np.where(body, 40.0, -1024.0) + np.round(rng.normal(0, 15, SHAPE[1:]) * body)
    pet = body * (1.0 + 8.0 * np.exp(-((x - 0.2) ** 2 + y**2 + z**2) / 0.05)) * rng.gamma(50, 0.02, SHAPE[1:])
    return np.stack([pet, ct]).astype(np.float32)


def write(path: Path, layout: Layout, image: np.ndarray) -> None:
    """Store the image in a layout."""
    import zarr
    from zarr.codecs import BloscCodec

    codec = BloscCodec(
        cname=layout.codec, clevel=5 if layout.codec == "lz4" else 3, shuffle="shuffle", typesize=4
    )
    array: Any = zarr.create_array(
        path, shape=SHAPE, dtype="float32", chunks=layout.chunks, shards=layout.shards, compressors=codec,
        overwrite=True,
    )  # fmt: skip
    array[...] = image


def timed(action: Any) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    """Print the table."""
    import zarr

    image = picture()
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    sizes: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            for number, layout in enumerate(LAYOUTS):
                path = Path(folder, f"{number}.zarr")
                steps = {
                    "write": lambda p=path, own=layout: write(p, own, image),
                    "read": lambda p=path: zarr.open_array(p, mode="r")[...],
                    "patch": lambda p=path: zarr.open_array(p, mode="r")[PATCH],
                }
                for step, action in steps.items():
                    taken.setdefault((layout.name, step), []).append(timed(action))
                files = [p for p in path.rglob("*") if p.is_file()]
                sizes[layout.name] = (len(files), sum(p.stat().st_size for p in files) / 1e6)
    print("| layout | write (ms) | read (ms) | read 2×32³ (ms) | MB | files |\n|---|---|---|---|---|---|")
    for layout in LAYOUTS:
        cells = []
        for step in ("write", "read", "patch"):
            runs = taken[layout.name, step]
            wall, processor = (1000 * statistics.median(run[i] for run in runs) for i in (0, 1))
            cells.append(f"{wall:.0f} ({processor:.0f})")
        files, megabytes = sizes[layout.name]
        print(f"| {layout.name} | {' | '.join(cells)} | {megabytes:.1f} | {files} |")
    print("wall time (processor time), medians")


if __name__ == "__main__":
    main()
