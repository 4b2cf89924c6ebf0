"""A head, neck and shoulders with couch, as converted patients in known poses."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.tables.status import Status, write_status
from pipeline.volumes.nifti import write_nifti
from pipeline.volumes.volume import Grid, Volume

# (centre, radii, HU) of ellipsoids (LPS mm), painted in order
SOLIDS = (
    ((0, 0, 50), (75, 95, 70), 40),
    ((0, 0, 50), (70, 90, 65), 900),
    ((0, 0, 52), (64, 84, 60), 35),
    ((0, -60, 0), (38, 30, 15), 40),
    ((0, -60, 0), (35, 27, 12), 700),
    ((0, -50, 0), (30, 25, 20), 40),
    ((30, -90, 60), (14, 12, 12), -800),
    ((0, 0, -130), (60, 50, 40), -750),
)
LANDMARKS = np.array([(0, 0, 50), (30, -60, 0), (-40, 20, -60), (0, -30, -30), (60, 10, -90)], dtype=float)


def pose(rotation_deg, shift_mm) -> np.ndarray:
    """4×4 that maps the head's own points to the patient's: R = Rx Ry Rz, about the origin."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(rotation_deg)):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix[:3, :3] = matrix[:3, :3] @ turn
    matrix[:3, 3] = shift_mm
    return matrix


def grid(shape=(54, 80, 80), spacing=(4.0, 3.5, 3.5), centre=(0.0, 0.0, 0.0)) -> Grid:
    half = [(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)][::-1]
    x, y, z = (float(c - h) for c, h in zip(centre, half, strict=True))
    return Grid(shape, spacing, (x, y, z))


def head(matrix: np.ndarray, on: Grid, seed: int, scale=(1.0, 1.0, 1.0)) -> Volume:
    """CT (HU, int16) of the head in a pose; the couch stays where it is; noise of 15 HU."""
    points = on.points(np.argwhere(np.ones(on.shape))).reshape(*on.shape, 3)
    x, y, z = np.moveaxis(((points - matrix[:3, 3]) @ matrix[:3, :3]) / scale, -1, 0)
    out = np.full(on.shape, -1000.0)
    neck = ((x / 55) ** 2 + ((y - 10) / 60) ** 2 < 1) & (z < 30)
    out[neck] = 40
    out[((x / 170) ** 2 + ((y - 15) / 80) ** 2 < 1) & (z < -70 - 0.1 * np.abs(x))] = 30
    for centre, radii, value in SOLIDS:
        c, r = np.asarray(centre), np.asarray(radii)
        out[((x - c[0]) / r[0]) ** 2 + ((y - c[1]) / r[1]) ** 2 + ((z - c[2]) / r[2]) ** 2 < 1] = value
    out[((x / 13) ** 2 + ((y - 45) / 13) ** 2 < 1) & (z < 10)] = 600
    out[((x / 9) ** 2 + ((y + 10) / 10) ** 2 < 1) & (z < 20)] = -950
    couch = (np.abs(points[..., 1] - 112) < 7) & (np.abs(points[..., 0]) < 130)
    out[couch] = -200
    noisy = out + np.random.default_rng(seed).normal(0, 15, on.shape)
    return Volume(np.clip(np.round(noisy), -1024, 3000).astype(np.int16), on, "ct_hu")


@dataclass(frozen=True)
class HeadWriter:
    """Writes a head as a folder of `convert`."""

    root: Path

    def __call__(self, name: str, matrix=None, on: Grid | None = None, scale=(1.0, 1.0, 1.0)) -> Path:
        folder = self.root / "convert" / name
        seed = sum(name.encode())
        volume = head(np.eye(4) if matrix is None else matrix, on or grid(), seed, scale)
        write_nifti(folder / "ct_hu.nii.gz", volume)
        write_status(folder, Status("ok", "convert"))
        return folder


@pytest.fixture
def write_head(tmp_path) -> HeadWriter:
    return HeadWriter(tmp_path)


@pytest.fixture
def landmarks() -> np.ndarray:
    return LANDMARKS


@pytest.fixture
def make_pose():
    return pose


@pytest.fixture
def make_grid():
    return grid


@pytest.fixture
def make_head():
    return head
