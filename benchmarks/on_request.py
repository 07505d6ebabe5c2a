"""The loop of each process that `benchmarks.competitor` starts. It needs the standard library alone."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping


def repeat_on_request(
    facts: Mapping[str, object], call: Callable[[], object], clock: Callable[[], float] = time.perf_counter
) -> None:
    """Prints `facts` as JSON. Then, for each line of the input, makes so many calls and prints their seconds."""
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        begin = clock()
        for _ in range(int(line)):
            call()
        print(clock() - begin, flush=True)
