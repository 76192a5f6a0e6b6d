"""Tasks on whatever runs them: a cluster, or Dask's own schedulers in this process."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import dask
from dask.base import compute
from dask.callbacks import Callback


@contextlib.contextmanager
def client_of(client: Any) -> Iterator[Any]:
    """The client to use: that given, one for an address, the one in use, or None."""
    if isinstance(client, str):
        import distributed

        with distributed.Client(client, set_as_default=False) as connected:
            yield connected
        return
    if client is None and "distributed" in sys.modules and dask.config.get("scheduler", None) is None:
        import distributed

        with contextlib.suppress(ValueError):
            client = distributed.get_client()
    if getattr(client, "asynchronous", False):
        raise ValueError("the client is asynchronous: give one that is not, or the scheduler's address")
    yield client


def run(tasks: list[Any], client: Any, retries: int, told: Callable[[int, Any], None] | None = None) -> list[Any]:
    """Results of delayed calls, in order; `told` gets each as it comes, with its place in the list."""
    if not tasks:
        return []
    place = {task.key: i for i, task in enumerate(tasks)}
    if client is None:
        with _Told(place, told):
            return list(compute(*tasks))
    import distributed

    futures = client.compute(tasks, retries=retries)
    results: list[Any] = [None] * len(tasks)
    try:
        for future, result in distributed.as_completed(futures, loop=client.loop, with_results=True):
            i = place[future.key]
            results[i] = result
            if told:
                told(i, result)
            # Nothing that is known here needs to be remembered there.
            future.release()
    except BaseException:
        client.cancel(futures)
        raise
    return results


class _Told(Callback):
    """Tells of results as the schedulers in this process have them."""

    def __init__(self, place: dict[Any, int], told: Callable[[int, Any], None] | None) -> None:
        super().__init__()
        self.place, self.told = place, told

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        if self.told and key in self.place:
            self.told(self.place[key], result)
