"""Work on a dask cluster: the same results in the same order, whatever happens to a worker."""

from __future__ import annotations

import math
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cloudpickle
import pytest

from pipeline.errors import MachineError
from pipeline.spread import CLUSTER, cluster, spread, spread_until_enough

ITEMS = [float(number) for number in range(12)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two workers of this machine, as processes of their own."""
    from distributed import LocalCluster

    # Workers cannot import this file.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    folder = str(tmp_path_factory.mktemp("dask"))
    with LocalCluster(2, threads_per_worker=1, dashboard_address=None, local_directory=folder) as local:
        yield local.scheduler_address


def root_unless_killed_before(number: float, mark: Path) -> float:
    """A square root; the first worker that computes that of 5 is killed."""
    if number == 5.0 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return math.sqrt(number)


def test_without_a_cluster_everything_runs_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CLUSTER, raising=False)
    assert cluster() == "local"
    expected = [math.sqrt(item) for item in ITEMS]
    assert spread(math.sqrt, ITEMS, title="roots") == expected
    assert spread(math.sqrt, ITEMS, title="roots", workers=2) == expected


def test_a_killed_worker_loses_nothing(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLUSTER, address)
    mark = tmp_path / "killed"
    results = spread(partial(root_unless_killed_before, mark=mark), ITEMS, title="roots")
    assert mark.exists() and results == [math.sqrt(item) for item in ITEMS]


def test_an_error_of_the_data_comes_back(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLUSTER, address)
    with pytest.raises(ValueError, match="math domain|nonnegative"):
        spread(math.sqrt, [1.0, -1.0], title="roots")


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.spread._CONNECT_SECONDS", 1)
    monkeypatch.setenv(CLUSTER, "tcp://127.0.0.1:9")
    with pytest.raises(MachineError, match=r"scheduler cannot be reached.*resources\.cluster"):
        spread(math.sqrt, ITEMS, title="roots")


def test_results_come_as_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the fourth root, of a negative number, is never computed."""
    monkeypatch.delenv(CLUSTER, raising=False)
    roots = spread_until_enough(math.sqrt, [4.0, 9.0, 16.0, -1.0], title="roots")
    assert [next(roots) for _ in range(3)] == [2.0, 3.0, 4.0]


def test_a_cluster_gives_the_same_block_by_block(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLUSTER, address)
    monkeypatch.setattr("pipeline.spread._BLOCK", 5)
    assert list(spread_until_enough(math.sqrt, ITEMS, title="roots")) == [math.sqrt(item) for item in ITEMS]
