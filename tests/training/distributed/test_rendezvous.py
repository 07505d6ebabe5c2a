"""The rendezvous of workers before TensorFlow starts: on loopback, in threads of this process."""

import concurrent.futures
import socket
import time

import pytest

from semicml_tf.errors import UserError
from semicml_tf.training.distributed.cluster import Workers
from semicml_tf.training.distributed.rendezvous import meet
from tests.support.ports import free_ports

LONG_S, SHORT_S = 30.0, 0.6


def _workers(count):
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(count))
    return [Workers(count, number, addresses) for number in range(count)]


def test_all_workers_wait_for_the_last_one():
    workers = _workers(3)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        early = [threads.submit(meet, worker, LONG_S) for worker in (workers[2], workers[0])]
        time.sleep(0.3)
        assert not any(future.done() for future in early)
        meet(workers[1], LONG_S)
        assert [future.result(LONG_S) for future in early] == [None, None]
    # TensorFlow takes the chief's port over.
    socket.create_server(("127.0.0.1", int(workers[0].addresses[0].split(":")[1]))).close()


def test_the_chief_names_the_missing_workers():
    workers = _workers(3)
    with concurrent.futures.ThreadPoolExecutor() as threads:
        chief = threads.submit(meet, workers[0], 2.0)
        here = threads.submit(meet, workers[1], 3.0)
        with pytest.raises(UserError, match=rf"for worker 2 \({workers[2].addresses[2]}\).*Start all") as caught:
            chief.result(LONG_S)
        assert "worker 1" not in caught.value.line
        with pytest.raises(UserError, match="worker 1 of 3 waited 0.05 minutes for the chief"):
            here.result(LONG_S)


def test_a_worker_without_a_chief_gives_up():
    with pytest.raises(UserError, match="worker 1 of 2 waited .* for the chief at 127.0.0.1"):
        meet(_workers(2)[1], SHORT_S)


def test_connections_of_other_programs_are_ignored():
    workers = _workers(2)
    host, port = workers[0].addresses[0].split(":")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        chief = threads.submit(meet, workers[0], LONG_S)
        for greeting in (b"GET / HTTP/1.1\r\n\r\n", b"semicml_tf worker 7\n", b"semicml_tf worker x\n"):
            with _connected(host, int(port)) as stranger:
                stranger.sendall(greeting)
        time.sleep(0.2)
        assert not chief.done()
        meet(workers[1], LONG_S)
        assert chief.result(LONG_S) is None


def _connected(host, port):
    for _ in range(100):
        try:
            return socket.create_connection((host, port), timeout=5)
        except OSError:
            time.sleep(0.05)
    raise AssertionError("nobody listens")


def test_a_worker_that_disconnected_is_waited_for():
    workers = _workers(3)
    host, port = workers[0].addresses[0].split(":")
    with concurrent.futures.ThreadPoolExecutor() as threads:
        chief = threads.submit(meet, workers[0], LONG_S)
        with _connected(host, int(port)) as gone:
            gone.sendall(b"semicml_tf worker 1\n")
            time.sleep(0.2)
        second = threads.submit(meet, workers[2], LONG_S)
        time.sleep(0.3)
        assert not chief.done() and not second.done()
        meet(workers[1], LONG_S)
        assert (chief.result(LONG_S), second.result(LONG_S)) == (None, None)


def test_a_port_in_use_is_named():
    workers = _workers(2)
    with socket.create_server(("", int(workers[0].addresses[0].split(":")[1]))):
        with pytest.raises(UserError, match=f"cannot listen at {workers[0].addresses[0]}"):
            meet(workers[0], SHORT_S)
