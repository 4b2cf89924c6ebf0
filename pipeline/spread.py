"""One function over many items: here, in processes of this machine, or on a dask cluster.

A study names the cluster (`resources.cluster`); its jobs inherit the address in the environment,
since where something is computed changes no result and must rerun nothing. Results keep the order
of the items, so that tables are the same bit for bit wherever they were made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeVar

from pipeline.as_planned import on_worker, running_code
from pipeline.console import progress
from pipeline.errors import MachineError

T = TypeVar("T")
R = TypeVar("R")
CLUSTER = "SUVIVAL_CLUSTER"
"""Environment variable that holds `local` or the address of a dask scheduler."""
LOCAL = "local"
_CONNECT_SECONDS = 30
_BLOCK = 50
"""Items that go to a cluster at a time where the results may be enough before the last."""
# A task whose worker is killed is computed again by another one, so often at most.
_RETRIES = 3


def cluster() -> str:
    """Where this process has its work done: `local`, or the address of a dask scheduler."""
    return os.environ.get(CLUSTER, "") or LOCAL


def spread(function: Callable[[T], R], items: Sequence[T], *, title: str, workers: int = 1) -> list[R]:
    """Apply a function to each item, on the cluster where one is named.

    Args:
        function: Of a module, or a partial of one, so that a worker can import it. It draws no
            random numbers but from a seed that it is given.
        items: What it is applied to.
        title: Shown beside the progress bar.
        workers: Processes of this machine where there is no cluster; 1: none beside this one.

    Returns:
        The results in the order of the items.

    Raises:
        MachineError: The scheduler cannot be reached, or tasks killed too many workers.
    """
    if cluster() != LOCAL:
        return _on_cluster(function, items, title)
    if workers == 1 or len(items) < 2:
        return [function(item) for item in progress(items, title=title)]
    return _in_processes(function, items, workers)


def spread_until_enough(function: Callable[[T], R], items: Sequence[T], *, title: str) -> Iterator[R]:
    """Results in the order of the items, of which the caller may not want all.

    Here one item is computed as its result is asked for; on a cluster a block of items at a time, so
    that no more than a block is computed in vain.

    Args:
        function: As of :func:`spread`.
        items: What it is applied to.
        title: Shown beside the progress bar of a block.

    Raises:
        MachineError: As :func:`spread`.
    """
    if cluster() == LOCAL:
        yield from map(function, items)
        return
    for first in range(0, len(items), _BLOCK):
        yield from _on_cluster(function, items[first : first + _BLOCK], title)


def _in_processes(function: Callable[[T], R], items: Sequence[T], workers: int) -> list[R]:
    import dask
    from dask.delayed import delayed

    # Forked processes are ready at once, where new ones would import everything again (1 s).
    settings = {"scheduler": "processes", "num_workers": workers, "multiprocessing.context": "fork"}
    with dask.config.set(settings):
        results: list[R] = list(dask.compute(*[delayed(function)(item) for item in items]))
    return results


def _on_cluster(function: Callable[[T], R], items: Sequence[T], title: str) -> list[R]:
    try:
        from distributed import Client, KilledWorker, as_completed
    except ImportError:
        raise MachineError(
            "the package distributed is not installed, and a dask cluster is named",
            where="resources.cluster",
            got=cluster(),
            action="pip install distributed, or set resources.cluster: local",
        ) from None
    try:
        client = Client(cluster(), timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise MachineError(
            "the dask scheduler cannot be reached",
            where=f"resources.cluster: {cluster()}",
            expected="the address that `dask scheduler` prints, e.g. tcp://host:8786",
            got=type(error).__name__,
            action="start it, with workers that can import this checkout, or set resources.cluster: local",
        ) from None
    with client, client.as_current():
        futures = client.map(
            partial(on_worker, running_code(), function), items, pure=False, retries=_RETRIES
        )
        for _ in progress(as_completed(futures), title=title, total=len(items)):
            pass
        try:
            results: list[R] = client.gather(futures)
        except KilledWorker as error:
            raise MachineError(
                "workers of the dask cluster died on the same task",
                where=f"resources.cluster: {cluster()}",
                got=str(error).splitlines()[0],
                action="give workers more memory (dask worker --memory-limit), or set resources.cluster: local",
            ) from None
    return results
