"""The store: complete or absent, and never read when damaged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.errors import CropError, DamageError
from pipeline.store.attributes import CropAttributes
from pipeline.store.crops import Crop, read_crop, read_status, write_crop, write_excluded
from pipeline.tables.status import Status, write_status

ROOT = Path(__file__).parents[2]


def make(name="P7", shape=(6, 8, 10), seed=0, mask=True) -> Crop:
    rng = np.random.default_rng(seed)
    attributes = CropAttributes(name, ("pet", "ct"), ("g/mL", "HU"), (3.0, 2.0, 1.0), (1.5, -2.5, 3.5))
    image = rng.normal(0, 100, (2, *shape)).astype(np.float32)
    drawn = (rng.random(shape) > 0.8).astype(np.uint8) if mask else None
    return Crop(image, drawn, np.ones(shape, dtype=np.uint8), attributes)


def chunk(path: Path, array: str) -> Path:
    return next(p for p in sorted((path / array).rglob("*")) if p.is_file() and p.name != "zarr.json")


def test_what_is_written_is_read(tmp_path):
    crop = make()
    write_crop(tmp_path / "P7.zarr", crop, Status("warned", "crop", "something", "used"))
    back = read_crop(tmp_path / "P7.zarr")
    assert np.array_equal(back.image, crop.image)
    assert np.array_equal(back.mask, crop.mask)
    assert np.array_equal(back.inside, crop.inside)
    assert replace(back.attributes, checksums={}, crc32={}) == crop.attributes
    assert read_status(tmp_path / "P7.zarr").problem == "something"
    write_crop(tmp_path / "P7.zarr", make(mask=False))
    assert read_crop(tmp_path / "P7.zarr").mask is None


def test_any_zarr_reader_opens_it(tmp_path):
    write_crop(tmp_path / "P7.zarr", make())
    group = zarr.open_group(tmp_path / "P7.zarr", mode="r")
    assert sorted(group.array_keys()) == ["image", "inside", "mask"]
    assert group.metadata.zarr_format == 3
    assert group["image"].metadata.dimension_names == ("channel", "z", "y", "x")
    assert group.attrs["crop"]["units"] == ["g/mL", "HU"]


@pytest.mark.parametrize("array", ["image", "mask", "inside"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damage_is_detected_and_the_patient_named(tmp_path, array, damage):
    path = tmp_path / "P7.zarr"
    write_crop(path, make())
    file = chunk(path, array)
    data = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(data[: len(data) // 2])
    else:
        data[-3] ^= 0b100
        file.write_bytes(data)
    with pytest.raises(DamageError, match=r"damaged.*P7\.zarr/.*delete .*P7\.zarr and run"):
        read_crop(path)


def test_missing_or_broken_metadata(tmp_path):
    path = tmp_path / "P7.zarr"
    with pytest.raises(DamageError, match=r"P7\.zarr"):
        read_crop(path)
    write_crop(path, make())
    for file in (path / "zarr.json", path / "image" / "zarr.json"):
        content = file.read_text()
        file.write_text(content[:40])
        with pytest.raises(DamageError, match=r"P7\.zarr"):
            read_crop(path)
        file.write_text(content)
    root = json.loads((path / "zarr.json").read_text())
    root["attributes"]["version"] = 0
    (path / "zarr.json").write_text(json.dumps(root))
    write_status(path, Status("ok", "crop"))
    with pytest.raises(DamageError, match="expected: version"):
        read_crop(path)


def test_a_killed_writer_leaves_nothing_a_reader_accepts(tmp_path):
    # The writer is stopped after two of three arrays, then killed; a later run cleans up.
    path = tmp_path / "P7.zarr"
    code = f"""
import time, numpy as np
from pathlib import Path
import pipeline.store.crops as store
from pipeline.store.attributes import CropAttributes
plain, count = store._write_array, [0]
def slow(group, name, array):
    plain(group, name, array)
    count[0] += 1
    if count[0] == 2:
        print("now", flush=True)
        time.sleep(60)
store._write_array = slow
a = CropAttributes("P7", ("ct",), ("HU",), (1.0, 1.0, 1.0))
ones = np.ones((4, 4, 4), np.uint8)
store.write_crop(Path({str(path)!r}), store.Crop(np.ones((1, 4, 4, 4), np.float32), ones, ones, a))
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"now\n"
        os.kill(writer.pid, signal.SIGKILL)
    assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == [".P7.zarr.partial"]
    with pytest.raises(DamageError, match=r"P7\.zarr"):
        read_crop(path)
    write_crop(path, make())
    assert [p.name for p in tmp_path.iterdir()] == ["P7.zarr"]


def test_an_exclusion_replaces_an_older_crop(tmp_path):
    path = tmp_path / "P7.zarr"
    write_crop(path, make())
    write_excluded(path, Status("excluded", "crop", "cut off"))
    assert read_status(path).state == "excluded"
    with pytest.raises(CropError, match="cut off"):
        read_crop(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mask": np.zeros((2, 2, 2), np.uint8)}, "`mask` does not fit"),
        ({"image": np.zeros((1, 6, 8, 10), np.float32)}, "number of channels differs"),
        ({"image": np.full((2, 6, 8, 10), np.nan, np.float32)}, "not finite"),
    ],
)
def test_nonsense_is_not_written(tmp_path, change, message):
    with pytest.raises(CropError, match=message):
        write_crop(tmp_path / "P7.zarr", replace(make(), **change))
    assert not (tmp_path / "P7.zarr").exists()
