"""Like the built-in `map`, with several calls under way at once."""

from __future__ import annotations

import collections
import concurrent.futures
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item, Result = TypeVar("Item"), TypeVar("Result")


def in_order(function: Callable[[Item], Result], items: Iterable[Item], parallel: int) -> Iterator[Result]:
    """Results in the order of the items, whichever is ready first.

    Args:
        function: called in threads.
        items: taken from when there is room, in this thread.
        parallel: calls at once, and results held: of a long series no more than this is in memory.

    Raises:
        Exception: what a call raises; those that have begun then are not waited for, and no more begin.
    """
    pool = concurrent.futures.ThreadPoolExecutor(parallel, thread_name_prefix="ask")
    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    left = iter(items)
    try:
        while True:
            for item in itertools.islice(left, parallel - len(waiting)):
                waiting.append(pool.submit(function, item))
            if not waiting:
                return
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
