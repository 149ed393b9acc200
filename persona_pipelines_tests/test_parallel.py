"""Work side by side: results in the order of the tasks, no fault swallowed, and as many threads as there are cores."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from persona_pipelines import parallel
from persona_pipelines.parallel import side_by_side


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.os, "cpu_count", lambda: 4)


def after(seconds: float, result: int) -> int:
    time.sleep(seconds)
    return result


def test_results_stand_in_the_order_of_the_tasks() -> None:
    assert side_by_side([partial(after, 0.05, 1), partial(after, 0.0, 2), partial(after, 0.02, 3)]) == [1, 2, 3]
    assert side_by_side([]) == []


def test_tasks_run_at_the_same_time_but_no_more_than_asked_for() -> None:
    together = threading.Barrier(2, timeout=10)
    side_by_side([together.wait, together.wait])
    running, most = [0], [0]
    lock = threading.Lock()

    def counted() -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    side_by_side([counted] * 8, most=3)
    assert most == [3]


def test_what_a_task_raises_is_raised() -> None:
    def broken() -> int:
        raise ZeroDivisionError("of a task")

    with pytest.raises(ZeroDivisionError, match="of a task"):
        side_by_side([partial(after, 0.0, 1), partial(broken)])


def test_each_task_has_its_share_of_the_threads_for_sums_which_is_given_back() -> None:
    def limits() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(4):
        assert limits() == {4}  # NumPy and SciPy have loaded theirs
        assert side_by_side([limits, limits]) == [{2}, {2}]
        assert side_by_side([limits] * 4) == [{1}] * 4
        assert limits() == {4}
    with threadpool_limits(1):  # what whoever started the process has set is not exceeded
        assert side_by_side([limits, limits]) == [{1}, {1}]


def test_a_task_does_its_own_tasks_one_after_the_other() -> None:
    def threads() -> tuple[int, list[int]]:
        return threading.get_ident(), side_by_side([threading.get_ident] * 2)

    assert all(inner == [outer, outer] for outer, inner in side_by_side([threads] * 2))
