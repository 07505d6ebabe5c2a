"""How a run's networks share the cores of a small machine."""

import os
import subprocess
import sys

import pytest

from semicml_tf import cores

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
