"""Ends a worker whose conversion is gone. Importing it is what starts the watch; Beam's local workers do, as a plugin.

Beam starts a local worker through a shell and leaves it waiting for ever where the conversion is killed by SIGKILL.
"""

from __future__ import annotations

import os
import threading
import time

from semicml_tf.conversion.execution.process_tree import parent_of
from semicml_tf.conversion.execution.runner import CONVERSION


def _watch(conversion: int) -> None:
    while conversion in (os.getppid(), parent_of(os.getppid())):
        time.sleep(1.0)
    os._exit(1)


# Told by the conversion: who looks for it only now may find that it is gone already.
threading.Thread(target=_watch, args=(int(os.environ[CONVERSION]),), daemon=True).start()
