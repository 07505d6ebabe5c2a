"""The rendezvous of the workers before TensorFlow starts, with a time limit and the names of missing workers.

TensorFlow's coordination service has no such limit. Its register timeout covers only the connection to the chief. The
chief and the connected workers wait for a missing worker beyond this timeout, and SIGTERM does not end them.
"""

from __future__ import annotations

import contextlib
import socket
import time

from semicml_tf.errors import UserError
from semicml_tf.training.distributed.cluster import Workers

_GREETING, _GO = b"semicml_tf worker ", b"go\n"
_AGAIN_S = 0.5


def meet(workers: Workers, patience_s: float) -> None:
    """Returns when all workers are connected, on each of them.

    The chief listens at its own address of TF_CONFIG, and the other workers connect to it. Afterwards, TensorFlow uses
    this address.

    Args:
        workers: the workers of the run, and the number of this one.
        patience_s: time limit in seconds.

    Raises:
        UserError: workers are missing after the time limit, or the chief cannot listen at its address.
    """
    until = time.monotonic() + patience_s
    if workers.chief:
        _gather(workers, until, patience_s)
    else:
        _go_to_chief(workers, until, patience_s)


def _address(workers: Workers) -> tuple[str, int]:
    host, _, port = workers.addresses[0].rpartition(":")
    return host.strip("[]"), int(port)


def _gather(workers: Workers, until: float, patience_s: float) -> None:
    here: dict[int, socket.socket] = {}
    try:
        with _listening(_address(workers)[1], workers) as listener:
            while len(here) < workers.count - 1:
                listener.settimeout(max(until - time.monotonic(), 0.001))
                try:
                    guest = listener.accept()[0]
                except TimeoutError:
                    raise _missing(workers, here, patience_s) from None
                number = _number(guest)
                if number is None or not 0 < number < workers.count:
                    guest.close()
                    continue
                here[number] = guest  # a restarted worker connects again
                here = {number: guest for number, guest in here.items() if _waits(guest)}
            for guest in here.values():
                with contextlib.suppress(OSError):
                    guest.settimeout(5.0)
                    guest.sendall(_GO)
                    # The workers close first. The port is then free at once.
                    guest.recv(1)
    except OSError as error:
        raise UserError(f"the workers cannot meet ({error.strerror or error})", remedy=_REMEDY) from error
    finally:
        for guest in here.values():
            guest.close()


def _waits(guest: socket.socket) -> bool:
    """Whether a worker is still connected. It sends nothing while it waits."""
    guest.setblocking(False)
    try:
        return guest.recv(1) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False


def _watched(connection: socket.socket) -> None:
    """Lets the system detect within half a minute that the other machine has disappeared."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


_REMEDY = "Start all of them, each with its own task index, and let them reach each other's ports"


def _listening(port: int, workers: Workers) -> socket.socket:
    try:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        return socket.create_server(("", port), family=family, dualstack_ipv6=both, reuse_port=False)
    except OSError as error:
        raise UserError(
            f"worker {workers.number} cannot listen at {workers.addresses[0]} ({error.strerror or error})",
            remedy="Free that port, or name another one in TF_CONFIG",
        ) from error


def _number(guest: socket.socket) -> int | None:
    """The number of a connected worker; None for other programs and closed connections."""
    guest.settimeout(5.0)
    with contextlib.suppress(OSError, ValueError):
        _watched(guest)
        text = guest.makefile("rb").readline(64)
        if text.startswith(_GREETING):
            return int(text[len(_GREETING) :])
    return None


def _go_to_chief(workers: Workers, until: float, patience_s: float) -> None:
    while True:
        left = until - time.monotonic()
        if left <= 0:
            raise UserError(
                f"worker {workers.number} of {workers.count} waited {patience_s / 60:g} minutes for the chief at "
                f"{workers.addresses[0]} and the others",
                remedy=_REMEDY,
            )
        # Retries if the chief is not up yet, its name cannot be resolved yet, or it closed the connection.
        with contextlib.suppress(OSError), socket.create_connection(_address(workers), timeout=left) as chief:
            _watched(chief)
            chief.sendall(_GREETING + str(workers.number).encode() + b"\n")
            if chief.recv(len(_GO)) == _GO:
                return
        time.sleep(min(_AGAIN_S, max(left, 0)))


def _missing(workers: Workers, here: dict[int, socket.socket], patience_s: float) -> UserError:
    gone = [n for n in range(1, workers.count) if n not in here or not _waits(here[n])]
    names = [f"{n} ({workers.addresses[n]})" for n in gone]
    return UserError(
        f"worker 0 of {workers.count} waited {patience_s / 60:g} minutes for worker {', '.join(names)}", remedy=_REMEDY
    )
