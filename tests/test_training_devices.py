"""How a run's networks share the cores of a small machine, and how several runs share a process."""

import os
import subprocess
import sys

import pytest
import tensorflow as tf

from semicml_tf import cores
from semicml_tf.training.devices import strategy_for

ASK = """
import sys
import tensorflow as tf
from semicml_tf.training.devices import share_cores
share_cores(int(sys.argv[1]))
threads = tf.config.threading
print(threads.get_intra_op_parallelism_threads(), threads.get_inter_op_parallelism_threads())
tf.constant(1.0) + 1.0
share_cores(int(sys.argv[1]))  # too late: is passed over
"""
LEFT_ALONE = "0 0"


@pytest.mark.parametrize(
    ("networks", "told", "expected"),
    [
        (cores.available(), {}, f"1 {cores.available()}"),
        (cores.available() - 1, {}, LEFT_ALONE),
        (cores.available(), {"TF_NUM_INTRAOP_THREADS": "3"}, LEFT_ALONE),
    ],
)
def test_each_network_gets_a_core_where_there_is_no_more(networks, told, expected):
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names} | told
    answer = subprocess.run(
        [sys.executable, "-c", ASK, str(networks)], env=environment, check=True, capture_output=True, text=True
    )
    assert answer.stdout.strip() == expected


def test_runs_on_other_sets_of_devices_follow_each_other_in_one_process():
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
