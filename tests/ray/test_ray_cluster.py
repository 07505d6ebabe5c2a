"""`serving.ray_app` on a cluster of two Ray nodes, both on this machine, with a replica on each."""

import itertools
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import urllib.request

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

from semicml_tf.exporting.publish import publish
from semicml_tf.serving.server.served_model import ServedModel
from tests.ray.ray_processes import Caller, free_port, process, served, wait_until
from tests.support import threshold_model
from tests.support.networks import unet
from tests.support.serving_process import WINDOW, request

SIGNATURE = "probabilities"
TOLERANCE = 1e-5
CALLERS = 6


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    manifest = threshold_model.manifest("ct", window=WINDOW)
    for seed, name in ((0, "ct"), (1, "later")):
        publish(unet(WINDOW, 2, name="ct", seed=seed), manifest, folder / name / "ct")
    return folder


def _wait_for_start(node, log):
    wait_until(lambda: "Ray runtime started" in log.read_text(), 120, lambda: node.poll() is None, log)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Address of the first node, port of the second one's proxy, process of the second."""
    folder = tmp_path_factory.mktemp("cluster")
    # Ray's sockets lie there, and their paths may have 107 characters.
    short = tempfile.mkdtemp(prefix="ray")
    port, second = free_port(), free_port()
    start = [str(pathlib.Path(sys.executable).with_name("ray")), "start", "--block", "--num-cpus=1"]
    head = [*start, "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={short}"]
    # Two proxies on one machine need two ports; on machines of their own they do not.
    other = {"RAY_SERVE_WORKER_PROXY_GRPC_PORT": f"{second}", "RAY_SERVE_WORKER_PROXY_HTTP_PORT": f"{free_port()}"}
    address = f"127.0.0.1:{port}"
    with process(head, folder / "head.log") as first:
        _wait_for_start(first, folder / "head.log")
        with process([*start, f"--address={address}"], folder / "node.log", **other) as node:
            _wait_for_start(node, folder / "node.log")
            yield address, second, node
    shutil.rmtree(short, ignore_errors=True)


@pytest.fixture(scope="module")
def running(models, cluster, tmp_path_factory):
    """Ports of both nodes' proxies."""
    folder = tmp_path_factory.mktemp("served")
    with served(models / "ct", folder, f"--ray_address={cluster[0]}", "--replicas=2", "--cpus=1") as (_, port):
        yield port, cluster[1]


@pytest.fixture(scope="module")
def ray(cluster, running):
    """`ray`, connected to the cluster, to look at it and to do it harm."""
    ray = pytest.importorskip("ray")
    ray.init(address=cluster[0], namespace="serve", log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture
def caller(running):
    with Caller(running[0]) as one:
        yield one


def slices(count, seed):
    return np.random.default_rng(seed).uniform(-1, 1, (count, WINDOW, WINDOW, 1)).astype(np.float32)


def outputs(data):
    answer = predict_pb2.PredictResponse.FromString(data)
    return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}


def version(data):
    return predict_pb2.PredictResponse.FromString(data).model_spec.version.value


def test_a_replica_answers_on_each_node_and_both_nodes_take_calls(ray, running):
    nodes = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
    assert len(nodes) == 2
    for port in running:
        with Caller(port) as caller:
            wait_until(lambda caller=caller: caller.who_answers(request())[1] == nodes, 60)
            assert not caller.retries


def _joined(ray) -> tuple[float, float]:
    """Batches that Ray made of calls, and slices in them, as its own metrics tell."""
    found = {"count": 0.0, "sum": 0.0}
    for node in ray.nodes():
        with urllib.request.urlopen(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10) as page:
            for line in page.read().decode().splitlines():
                for what in found:
                    if line.startswith(f"ray_serve_actual_batch_size_{what}" + "{") and '"_join"' in line:
                        found[what] += float(line.rpartition(" ")[2])
    return found["count"], found["sum"]


def test_calls_at_once_are_joined_and_each_gets_its_own_answer(ray, models, caller):
    model = ServedModel.open("ct", 1, models / "ct" / "ct" / "1")
    sent = [slices(1 + seed % 3, seed) for seed in range(96)]
    answers = caller.at_once([request(values, signature=SIGNATURE) for values in sent], 32)
    for values, (data, _) in zip(sent, answers):
        expected = model.call(SIGNATURE, {"slices": values})
        for name, value in outputs(data).items():
            np.testing.assert_allclose(value, expected[name], atol=TOLERANCE)
    total = sum(map(len, sent))

    # Ray tells its metrics every few seconds. Fewer batches than the calls that they hold: some were joined.
    def told():
        count, found = _joined(ray)
        return found >= total and count < found - total + len(sent) - 10

    wait_until(told, 60)


def test_a_new_version_takes_over_without_a_failed_call(models, caller):
    stop, seen, failed = threading.Event(), [], []

    def call():
        while not stop.is_set():
            try:
                seen.append(version(caller.predict(request(), tries=1)[0]))
            except Exception as error:  # whatever it is, the test must not miss it
                failed.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: len(seen) > 10, 60)
        shutil.copytree(models / "later" / "ct" / "1", models / "ct" / "ct" / ".2")
        (models / "ct" / "ct" / ".2").rename(models / "ct" / "ct" / "2")
        # Both replicas look for themselves: for a moment they may answer by different versions.
        wait_until(lambda: len(seen) > 60 and set(seen[-60:]) == {2}, 60)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed and set(seen) == {1, 2}


def _replicas(ray):
    named = [one["name"] for one in ray.util.list_named_actors(all_namespaces=True)]
    return {name for name in named if "model-ct" in name and name.startswith("SERVE_REPLICA")}


def _under_load(port, harm, until):
    """Calls all the while, again on UNAVAILABLE alone; returns the calls that failed all the same."""
    stop, failed = threading.Event(), []

    def call(seed):
        with Caller(port) as caller:
            for number in itertools.count():
                if stop.is_set():
                    return
                try:
                    caller.predict(request(slices(4, seed * 1000 + number)))
                except Exception as error:  # whatever it is, the test must not miss it
                    failed.append(error)

    threads = [threading.Thread(target=call, args=(seed,)) for seed in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        harm()
        wait_until(until, 300)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return failed


def test_a_killed_replica_is_replaced_and_no_call_is_lost(ray, running):
    before = _replicas(ray)
    assert len(before) == 2
    victim = min(before)

    def replaced():
        now = _replicas(ray)
        if len(now) != 2 or victim in now:
            return False
        with Caller(running[0]) as caller:
            return len(caller.who_answers(request())[0]) == 2

    assert not _under_load(running[0], lambda: ray.kill(ray.get_actor(victim)), replaced)


# The last one: it takes a node away.
def test_a_node_that_is_gone_is_done_without(ray, cluster, running):
    def harm():
        os.killpg(cluster[2].pid, signal.SIGKILL)

    def alone():
        if sum(node["Alive"] for node in ray.nodes()) != 1:
            return False
        with Caller(running[0]) as caller:
            return len(caller.who_answers(request())[1]) == 1

    failed = _under_load(running[0], harm, alone)
    # The node had a router, too: Ray's proxy calls those INTERNAL that it had taken.
    assert all(isinstance(error, grpc.RpcError) and error.code() is grpc.StatusCode.INTERNAL for error in failed), (
        failed
    )
    assert len(failed) <= 2 * CALLERS
