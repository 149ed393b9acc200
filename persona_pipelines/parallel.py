"""Independent computations side by side, on all cores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")
WORKER = "side_by_side"


def side_by_side(tasks: Sequence[Callable[[], Result]], most: int | None = None) -> list[Result]:
    """The results of tasks in their order, whatever the order in which they end; what the first to fail raises is raised.

    They run in threads: what computes in compiled code (NumPy, scikit-learn, LightFM) uses as many cores. Each has its share of the
    threads for sums, in a table of some thousand rows one: more of them wait for each other for longer than they compute. A task that
    has tasks of its own does them one after the other.

    Args:
        most: at most so many at once, where each takes much memory; None for as many as there are cores.
    """
    from threadpoolctl import threadpool_info, threadpool_limits

    cores = os.cpu_count() or 1
    workers = min(len(tasks), cores, most or cores)
    if workers < 2 or threading.current_thread().name.startswith(WORKER):
        return [task() for task in tasks]
    threads = min([max(1, cores // workers), *(pool["num_threads"] for pool in threadpool_info())])
    # BLAS has one limit for the process, OpenMP one for each thread.
    with threadpool_limits(threads), ThreadPoolExecutor(workers, WORKER, initializer=threadpool_limits, initargs=(threads,)) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]
