"""Steps by a worker of TF_CONFIG: prints each one's terms and the weights. Run as a process of its own."""

import json
import sys

from semicml_tf.training.distributed.cluster import Workers
from semicml_tf.training.distributed.devices import strategy_for


def main(cases):
    """Trains each of the cases of `tests.methods.test_replicas`."""
    strategy = strategy_for([], Workers.from_environment())

    from tests.methods.test_replicas import train

    for case in cases:
        steps, _, weights = train(strategy, case)
        arrays = {key: [array.tolist() for array in held] for key, held in weights.items()}
        print("found", json.dumps([case, steps, arrays]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
