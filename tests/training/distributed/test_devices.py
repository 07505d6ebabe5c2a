"""Sharing of cores by the networks of a run, and of a process by several runs."""

import json
import os
import platform
import subprocess
import sys

import pytest
import tensorflow as tf

from semicml_tf.system import cpu
from semicml_tf.training.distributed.devices import share_cores, strategy_for

ASK = """
import sys
from semicml_tf.system import cpu as cores
import tensorflow as tf
from semicml_tf.training.distributed.devices import share_cores
share_cores(cores.available())
threads = tf.config.threading
print(threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads())
print(cores.processor()["onednn"])
tf.nn.conv2d(tf.ones((2, 16, 16, 8)), tf.ones((3, 3, 8, 8)), 1, "SAME")
share_cores(cores.available())  # too late: is passed over
"""
THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")


def test_each_network_gets_one_core_and_onednn_computes_convolutions():
    """In a process of its own: TensorFlow decides both when it starts."""
    removed = (*THREADS, "TF_ENABLE_ONEDNN_OPTS")
    environment = {name: value for name, value in os.environ.items() if name not in removed}
    environment |= {"ONEDNN_VERBOSE": "1"}
    answer = subprocess.run([sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True)
    lines = answer.stdout.splitlines()
    answers = [line for line in lines if not line.startswith("onednn_verbose")]
    assert answers[0] == f"1 {cpu.available()}"
    if platform.machine() == "x86_64":
        assert answers[1] == "True"
        assert [line for line in lines if line.startswith("onednn_verbose") and "convolution" in line]


@pytest.mark.parametrize("networks, told", [(cpu.available() - 1, {}), (cpu.available(), {THREADS[0]: "3"})])
def test_threads_keep_their_default_with_more_cores_or_a_users_setting(networks, told, monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    asked = []
    for name in ("intra", "inter"):
        monkeypatch.setattr(tf.config.threading, f"set_{name}_op_parallelism_threads", asked.append)
    share_cores(networks)
    assert not asked
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    share_cores(cpu.available())
    assert asked == [cpu.available(), 1] or tf.config.list_physical_devices("GPU")


def test_the_processor_is_described():
    known = cpu.processor()
    assert known["model"] and known["cores"] == cpu.available()
    assert known["model"] in cpu.described() and f"{known['cores']} cores" in cpu.described()
    json.dumps(known)


def test_runs_on_different_devices_can_follow_each_other_in_one_process():
    for count in (2, 4, 3, 2):
        strategy = strategy_for([f"cpu:{number}" for number in range(count)])

        @tf.function
        def gathered(strategy=strategy, count=count):
            def each():
                context = tf.distribute.get_replica_context()
                number = tf.cast(context.replica_id_in_sync_group, tf.float32)
                # As many values as there are devices: shapes differ, too.
                return context.all_gather(tf.fill([1, count], number), axis=0), context.all_reduce("SUM", number)

            return strategy.run(each)

        parts, sums = gathered()
        for one in strategy.experimental_local_results(parts):
            assert one.numpy().tolist() == [[float(number)] * count for number in range(count)]
        assert {float(one) for one in strategy.experimental_local_results(sums)} == {count * (count - 1) / 2}
