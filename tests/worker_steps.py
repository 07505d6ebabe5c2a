"""Three steps of SGD by a worker of TF_CONFIG: prints losses and weights. Run as a process of its own."""

import json
import sys

import numpy as np

from semicml_tf.training.devices import strategy_for
from semicml_tf.training.workers import Workers


def main(cases):
    """Trains each of the cases of `test_methods_replicas`."""
    strategy = strategy_for([], Workers.from_environment())

    from semicml_tf.training.stage import compiled_step
    from tests import method_batches
    from tests.test_methods_replicas import CASES, COMMON, LEVELS, SEEDS

    for case in cases:
        name, settings = CASES[case]
        with strategy.scope():
            method = method_batches.method(
                name,
                levels=LEVELS.get(case, 1),
                synchronized=strategy.num_replicas_in_sync > 1,
                **COMMON,
                **settings,
            )
        step, (first, second) = compiled_step(method, strategy), SEEDS.get(case, (0, 1))
        losses = [float(step(method_batches.batch(seed, 6, 4))["loss"]) for seed in (first, second, first)]
        weights = [array.ravel() for _, network in sorted(method.networks().items()) for array in network.get_weights()]
        print("found", json.dumps([losses, np.concatenate(weights).tolist()]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
