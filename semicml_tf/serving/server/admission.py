"""Admission of calls: a limit of running and of waiting calls. Further calls are refused at once."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from semicml_tf.serving.server.handlers import Refused

# When a server stops, a call that gRPC has read but not yet handed over ends as CANCELLED, which no client retries.
# So the server refuses new calls with UNAVAILABLE, and stops after QUIET_S without a call, at the latest after MOST_S.
QUIET_S, MOST_S, _LOOK_S = 0.2, 2.0, 0.02


def _shutting_down() -> Refused:
    return Refused("UNAVAILABLE", "the server is shutting down")


class Admission:
    """Runs calls in threads. Only for use from one event loop.

    Args:
        workers: calls that run at the same time.
        waiting: calls that may wait for a worker.

    Attributes:
        accepted: number of accepted calls.
        answered: accepted calls that got a result or an error before their caller left.
        refused: number of refused calls.
    """

    def __init__(self, workers: int, waiting: int):
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="call")
        self._most = workers + waiting
        self._admitted = 0
        self._shut = self._closed = False
        self._last_arrival = time.monotonic()
        self.accepted = self.answered = self.refused = 0

    def arrives(self) -> None:
        """Must be called for each call that comes, also for calls that need no worker.

        Raises:
            Refused: the server is shutting down; the client may send the call to another server.
        """
        self._last_arrival = time.monotonic()
        if self._shut:
            raise _shutting_down()

    async def run(self, function: Callable, *arguments) -> Any:
        """Runs `function` when a worker is free, and returns its result.

        Raises:
            Refused: too many calls are waiting, or the server is shutting down.
        """
        self.arrives()
        if self._admitted >= self._most:
            self.refused += 1
            raise Refused(
                "RESOURCE_EXHAUSTED", f"{self._admitted} calls are being worked on or waiting; try again later"
            )
        self._admitted += 1
        self.accepted += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(function, *arguments)
        # Not when the caller leaves: a running call occupies its worker until its next step notices that.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if self._closed:
                raise _shutting_down() from None
            raise  # the caller left
        except Exception:
            self.answered += 1
            raise
        if self._closed:
            raise _shutting_down()
        self.answered += 1
        return result

    def _release(self) -> None:
        self._admitted -= 1

    async def shut(self, within_s: float) -> None:
        """Refuses new calls; returns when the accepted calls are done and no more calls come, or after `within_s`.

        Args:
            within_s: most seconds for the accepted calls.
        """
        self._shut = True
        begin = time.monotonic()
        while self._admitted and time.monotonic() - begin < within_s:
            await asyncio.sleep(_LOOK_S)
        empty = time.monotonic()
        while time.monotonic() - max(empty, self._last_arrival) < QUIET_S:
            if time.monotonic() - empty > MOST_S or time.monotonic() - begin > within_s:
                break
            await asyncio.sleep(_LOOK_S)

    async def close(self) -> None:
        """Cancels the waiting calls, and waits for the running calls. No caller gets their results any more."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        # Time for the handlers of these calls to end.
        await asyncio.sleep(5 * _LOOK_S)
