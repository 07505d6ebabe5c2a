"""Files moved a few at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from semicml_tf.system import progress

_AT_ONCE = 4


def in_threads(work: Callable[[str], Any], names: Sequence[str], what: str) -> list[tuple[str, Any]]:
    """Calls `work` with each of the names; returns (name, result) in their order.

    The first error is raised once those under way have ended; the others are not begun.
    """
    results = {}
    with (
        ThreadPoolExecutor(_AT_ONCE) as pool,
        progress.bar(total=len(names), desc=what, unit="file", leave=False) as bar,
    ):
        futures = {pool.submit(work, name): name for name in names}
        try:
            for future in as_completed(futures):
                results[futures[future]] = future.result()
                bar.update()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return [(name, results[name]) for name in names]
