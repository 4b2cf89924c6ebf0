"""Tables and other single files of ours: what the disk did to them is told, never used."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

from pipeline.errors import DamageError, MachineError
from pipeline.tables.outcomes import read_outcomes
from pipeline.tables.parquet import read_frame, write_frame
from pipeline.tables.predictions import read_predictions, write_predictions
from pipeline.tables.splits import Fold, Splits, read_splits, write_splits


def frame() -> pd.DataFrame:
    values = np.random.default_rng(1).normal(size=(40, 3))
    table = pd.DataFrame(values, columns=["a", "b", "risk"])
    return table.assign(patient_id=[f"P{n}" for n in range(40)], set="test")


def test_what_is_written_is_read_and_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        write_frame(tmp_path / name, frame())
    pd.testing.assert_frame_equal(read_frame(tmp_path / "a.parquet"), frame())
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_cut_table_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "predictions.parquet"
    write_predictions(path, frame())
    data = path.read_bytes()
    for length in (0, 3, 500, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(DamageError) as refusal:
            read_predictions(path)
        message = str(refusal.value)
        assert refusal.value.exit_code == 74 and "\n" not in message
        assert f"where: {path};" in message and f"delete {path} and run" in message
    path.unlink()
    with pytest.raises(DamageError, match="no such file"):
        read_predictions(path)


def test_no_flipped_bit_changes_a_value_or_a_name(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write_frame(path, frame())
    data, refused = path.read_bytes(), 0
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 16
        path.write_bytes(changed)
        try:
            table = read_frame(path)
        except DamageError:
            refused += 1
        else:  # statistics and the like, which nobody reads
            pd.testing.assert_frame_equal(table, frame())
    assert refused > len(data) / 14


def test_a_broken_splits_file(tmp_path: Path) -> None:
    path = tmp_path / "splits.json"
    write_splits(path, Splits((Fold(("A",), (), ("B",)),), (), 1))
    text = path.read_text()
    for broken in (text[:20], "", "[]", '{"folds": [{"train": ["A"]}]}'):
        path.write_text(broken)
        with pytest.raises(DamageError, match=rf"where: {path}; .*delete {path} and run"):
            read_splits(path)


def test_rights_are_not_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cohort.parquet"
    write_frame(path, frame())

    def closed(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(pyarrow.parquet, "read_table", closed)
    with pytest.raises(MachineError, match="Permission denied") as refusal:
        read_outcomes(path)
    assert not isinstance(refusal.value, DamageError)
