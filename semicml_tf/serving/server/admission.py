"""Which calls are worked on: so many at once, so many waiting, and the rest told so at once; none once it is shut."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable
from typing import Any

from semicml_tf.serving.server.handlers import Refused

# A call that gRPC has read and not handed over yet when its server stops ends as CANCELLED, which no client tries
# again. So it stops once callers, told UNAVAILABLE, have left off; one that never does is not waited for.
QUIET_S, MOST_S, _LOOK_S = 0.2, 2.0, 0.02


def _shutting_down() -> Refused:
    return Refused("UNAVAILABLE", "the server is shutting down")


class Admission:
    """Runs calls in threads. To be used from one event loop alone.

    Args:
        workers: calls worked on at once.
        waiting: calls that may wait for a worker.

    Attributes:
        accepted: calls that were let in.
        answered: of these, those that got their result or their error; not those whose caller left before that.
        refused: calls that were not let in.
    """

    def __init__(self, workers: int, waiting: int):
        self._pool = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="call")
        self._most = workers + waiting
        self._held = 0
        self._shut = self._closed = False
        self._last_arrival = time.monotonic()
        self.accepted = self.answered = self.refused = 0

    def arrives(self) -> None:
        """To be told of each call that comes, also of those that take no worker.

        Raises:
            Refused: it is shut; the same call may be sent to another server.
        """
        self._last_arrival = time.monotonic()
        if self._shut:
            raise _shutting_down()

    async def run(self, function: Callable, *arguments) -> Any:
        """What `function` returns; it begins when a worker is free.

        Raises:
            Refused: as many calls as may wait do so already, or it is shut.
        """
        self.arrives()
        if self._held >= self._most:
            self.refused += 1
            raise Refused("RESOURCE_EXHAUSTED", f"{self._held} calls are being worked on or waiting; try again later")
        self._held += 1
        self.accepted += 1
        loop = asyncio.get_running_loop()
        future = self._pool.submit(function, *arguments)
        # Not when the caller leaves: a call that has begun holds its worker until its next step sees that.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._release))
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            if self._closed:
                raise _shutting_down() from None
            raise  # its caller left
        except Exception:
            self.answered += 1
            raise
        if self._closed:
            raise _shutting_down()
        self.answered += 1
        return result

    def _release(self) -> None:
        self._held -= 1

    async def shut(self, within_s: float) -> None:
        """Lets none in from now on; returns when those in are done and others have stopped to come, or time is up.

        Args:
            within_s: seconds that calls which are in have at most.
        """
        self._shut = True
        begin = time.monotonic()
        while self._held and time.monotonic() - begin < within_s:
            await asyncio.sleep(_LOOK_S)
        empty = time.monotonic()
        while time.monotonic() - max(empty, self._last_arrival) < QUIET_S:
            if time.monotonic() - empty > MOST_S or time.monotonic() - begin > within_s:
                break
            await asyncio.sleep(_LOOK_S)

    async def close(self) -> None:
        """Gives up the calls that wait, and waits for those that are worked on; nobody hears of either any more."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown, wait=True, cancel_futures=True)
        # A turn of the loop or two, in which their callers' handlers end.
        await asyncio.sleep(5 * _LOOK_S)
