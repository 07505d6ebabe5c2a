"""Small random batches and methods for the tests of methods and replicas."""

import os

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.methods import catalogue
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.methods.schedule import StagePlan
from semicml_tf.methods.shared_knobs import UnlabelledLoss
from semicml_tf.networks import catalogue as networks
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.training.distributed.devices import own_part

MODALITIES = ("ct", "pet")
# The methods that add one weighted term to `supervised`.
BASELINES = tuple(name for name, declared in catalogue.METHODS.items() if UnlabelledLoss in declared.knobs)
# One level rather than the method's five: what is tested here does not depend on them, and networks take long to build.
WINDOW, WIDTH, LEVELS = 16, 2, 1

# Where oneDNN is limited to fewer instructions than the processor has, to imitate another machine: TensorFlow asks the
# processor what oneDNN can do, and its convolutions in half precision then fail.
half_precision = pytest.mark.skipif(
    "ONEDNN_MAX_CPU_ISA" in os.environ and os.environ.get("TF_ENABLE_ONEDNN_OPTS") != "0",
    reason="oneDNN is limited by ONEDNN_MAX_CPU_ISA, of which TensorFlow's half precision does not know",
)


def batch(
    seed: int,
    labelled: int = 4,
    unlabelled: int = 4,
    dtype: str = "float32",
    modalities=MODALITIES,
    classes: int = 1,
    ignored: bool = False,
    present=None,
    spatial: tuple[int, ...] = (WINDOW, WINDOW),
    channels: int = 1,
):
    """A global batch as `input.semi_supervised_batches` yields it; images show their label faintly.

    Args:
        classes: of the label, in columns of their own.
        ignored: whether the upper half of each labelled slice was not annotated.
        spatial: the spatial shape of an input.
        channels: of an input.
        present: by modality, 1 for each slice of a stream that has it, else 0; a shorter stream reads the first ones.
    """
    rng = np.random.default_rng(seed)

    def stream(count, with_label):
        label = np.zeros((count, *spatial, 1), dtype)
        sides = [-(-6 * size // WINDOW) for size in spatial]
        for index in range(count):
            corner = rng.integers(0, spatial[-1] - sides[-1], len(spatial))
            box = (slice(start, start + side) for start, side in zip(corner, sides))
            label[(index, *box)] = 1.0
        noise = (*label.shape[:-1], channels)
        image = {name: (label + rng.normal(scale=0.5, size=noise)).astype(dtype) for name in modalities}
        made = {
            "image": image,
            "patient": np.arange(count, dtype=np.int32) // 2,
            "seed": rng.integers(0, 2**31 - 1, count, dtype=np.int32),
        }
        if present:
            made["present"] = {name: np.array(values[:count], np.float32) for name, values in present.items()}
        if not with_label:
            return made
        column = np.arange(spatial[-1]) * classes // spatial[-1]
        planes = label * (column[:, np.newaxis] == np.arange(classes)) if classes > 1 else label
        if not ignored:
            return made | {"label": planes.astype(dtype)}
        valid = np.ones_like(label)
        valid[..., : spatial[-2] // 2, :, :] = 0.0
        return made | {"label": (planes * valid).astype(dtype), "valid": valid}

    made = {"labelled": stream(labelled, True)}
    if unlabelled:
        made["unlabelled"] = stream(unlabelled, False)
    return tf.nest.map_structure(tf.constant, made)


def method(
    name: str,
    *,
    modalities: tuple[str, ...] = MODALITIES,
    steps: int = 10,
    scores=None,
    synchronized: bool = False,
    levels: int = LEVELS,
    spec: NetworkSpec | None = None,
    precision: str = "float32",
    **settings,
):
    """A method with tiny networks: of `spec`, or U-Nets of so few levels."""
    how = MethodSettings(**settings)
    spec = spec or NetworkSpec("unet", WINDOW, WIDTH, levels)

    def build(modality):
        seed = sum(map(ord, modality))
        return networks.build(spec, name=modality, seed=seed, synchronized=synchronized, precision=precision)

    plan = StagePlan(steps=steps, first_step=0, steps_per_epoch=5)
    scores = scores or dict(zip(modalities, (0.4, 0.6, 0.5, 0.3)))
    made = catalogue.stage_class(name)(modalities, build, how, plan, scores)
    made.begin()
    return made


def weights(made) -> dict[str, list[np.ndarray]]:
    """The weights of all of a method's networks, by network."""
    return {key: network.get_weights() for key, network in made.networks().items()}


def eager_step(made, strategy):
    """As `training.step.compiled_step`, operation by operation: building a graph takes most of a test's time."""

    def step(data):
        terms = strategy.run(made.train_step, args=(own_part(data, strategy),))
        return {name: strategy.experimental_local_results(value)[0] for name, value in terms.items()}

    return step
