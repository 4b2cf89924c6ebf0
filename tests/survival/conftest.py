"""Synthetic studies on disk, and DeepSurv's WHAS split."""

import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.survival.patients import Patients
from pipeline.tables.splits import Fold, Splits, write_splits

DATA = Path(os.environ.get("SUVIVAL_DATA", Path(__file__).parents[2] / "../shared/data"))


def outcomes(seed, log_hazard):
    """Exponential times of given log-hazards, median about 600 days, a third censored."""
    generator = np.random.default_rng(seed)
    n = len(log_hazard)
    died = generator.exponential(900 * np.exp(-log_hazard)) + 1
    left = generator.uniform(100, 3000, n)
    return np.minimum(died, left), (died <= left).astype(int)


class Study:
    """Paths of a study's inputs, and what they were made from."""

    def __init__(self, folder, seed=0, sizes=(60, 12, 20), validation=0.2, strength=1.0):
        n, external, p = sizes
        self.folder, self.outcomes = folder, folder / "cohort.parquet"
        self.features, self.splits = folder / "features.parquet", folder / "splits.json"
        generator = np.random.default_rng(seed)
        self.x = generator.normal(size=(n + external, p))
        self.ids = [f"P{i:03d}" for i in range(n + external)]
        time, event = outcomes(seed + 1, strength * self.x[:, 0])
        self.cohort = pd.DataFrame(
            {
                "set": ["development"] * n + ["external"] * external,
                "centre": generator.choice(["A", "B"], n + external),
                "time_days": time,
                "event": event,
                "clinical_age": generator.normal(60, 9, n + external),
                "clinical_stage": generator.choice(["I", "II", "III"], n + external),
                "truth_log_hazard": strength * self.x[:, 0],
            },
            index=pd.Index(self.ids, name="patient_id"),
        )
        self.table = pd.DataFrame(np.exp(self.x), index=self.cohort.index).add_prefix("pet_f")
        self.table.columns = [f"pet_f{i}" for i in range(p)]
        order, folds = generator.permutation(n), []
        for k in range(3):
            held = order[k::3]
            rest = generator.permutation(np.setdiff1d(order, held))
            cut = int(validation * len(rest))
            parts = (rest[cut:], rest[:cut], held)
            folds.append(Fold(*(tuple(self.ids[i] for i in part) for part in parts)))
        self.folds = Splits(tuple(folds), tuple(self.ids[n:]), seed)
        self.write()

    def patients(self):
        """All patients with their features, as a fold's models see them."""
        return Patients(self.cohort, np.log(self.table.to_numpy()), tuple(self.table.columns))

    def write(self):
        self.cohort.to_parquet(self.outcomes)
        self.table.to_parquet(self.features)
        write_splits(self.splits, self.folds)


@pytest.fixture
def make_study(tmp_path):
    def make(name="study", **options):
        folder = tmp_path / name
        folder.mkdir()
        return Study(folder, **options)

    return make


@pytest.fixture(scope="session")
def whas():
    """{"train" | "test": {"x" | "t" | "e": array}} of DeepSurv's WHAS split."""
    path = DATA / "survival" / "whas_train_test.h5"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    return _read_hdf5(path.read_bytes())


# A reader of the plainest HDF5 (superblock 0, symbol tables, contiguous arrays), after the
# HDF5 File Format Specification 3.0, so that one file does not need one more dependency.
def _read_hdf5(data):
    tree, heap = struct.unpack_from("<QQ", data, 80)
    return _group(data, tree, heap)


def _group(data, tree, heap):
    names = struct.unpack_from("<Q", data, heap + 24)[0]
    return {
        data[names + name : data.index(b"\0", names + name)].decode(): _object(data, header)
        for name, header in _symbols(data, tree)
    }


def _symbols(data, node):
    if data[node : node + 4] == b"SNOD":
        for i in range(struct.unpack_from("<H", data, node + 6)[0]):
            yield struct.unpack_from("<QQ", data, node + 8 + 40 * i)
    else:
        for i in range(struct.unpack_from("<H", data, node + 6)[0]):
            yield from _symbols(data, struct.unpack_from("<Q", data, node + 32 + 16 * i)[0])


def _object(data, header):
    messages = dict(_messages(data, header))
    if 0x11 in messages:
        return _group(data, *struct.unpack_from("<QQ", data, messages[0x11]))
    at = messages[0x1]
    shape = struct.unpack_from(f"<{data[at + 1]}Q", data, at + 8)
    kind = {0: "i", 1: "f"}[data[messages[0x3]] & 15]
    size = struct.unpack_from("<I", data, messages[0x3] + 4)[0]
    version, layout, where = struct.unpack_from("<BBQ", data, messages[0x8])
    assert (version, layout) == (3, 1), "only contiguous arrays"
    return np.frombuffer(data, f"<{kind}{size}", int(np.prod(shape)), where).reshape(shape).astype(float)


def _messages(data, header):
    number, _, size = struct.unpack_from("<HII", data, header + 2)
    blocks, count = [(header + 16, size)], 0
    while blocks and count < number:
        at, size = blocks.pop(0)
        end = at + size
        while at < end and count < number:
            kind, length = struct.unpack_from("<HH", data, at)
            count += 1
            if kind == 0x10:
                blocks.append(struct.unpack_from("<QQ", data, at + 8))
            else:
                yield kind, at + 8
            at += 8 + length
