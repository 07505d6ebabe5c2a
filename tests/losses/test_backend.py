"""Losses and networks are Keras' alone: nothing of TensorFlow in them, and the same numbers under JAX."""

import ast
import json
import os
import pathlib
import subprocess
import sys

import pytest

import semicml_tf

# Run once here, under TensorFlow, and once in a process whose backend is JAX.
PROGRAM = """
import json
import numpy as np
from semicml_tf.losses.asc import asc_loss
from semicml_tf.losses.consistency import mutual_squared_difference, seen_by_either, squared_difference
from semicml_tf.losses.entropy import pixel_entropy, certain_squared_difference, mean_entropy
from semicml_tf.losses.pseudo_labels import confident_cross_entropy, cross_pseudo_supervision
from semicml_tf.losses.pyramid import rectified_consistency
from semicml_tf.losses.supervised import segmentation_loss
from semicml_tf.methods.ramps import after_burn_in
from semicml_tf.networks import sample_noise
from semicml_tf.networks.perturbations import FeatureDrop, FeatureNoise
from semicml_tf.networks.catalogue import build, specification
rng = np.random.default_rng(0)
a, b = (rng.uniform(size=(6, 8, 8, 1)).astype("float32") for _ in range(2))
a[1] = b[1] = a[4] = 0.01
a16 = rng.normal(size=(2, 16, 16, 1)).astype("float32")
network = build(specification("unet", window=16, width=2), name="ct")
# Initial weights come from each backend's own generator: both get NumPy's.
network.set_weights([rng.uniform(0.1, 0.3, w.shape) - 0.2 * (w.ndim > 1) for w in network.get_weights()])
seeds = np.array([3, 2**31 - 1], "int32")
patients = np.array([0, 0, 1, 1, 2, 2], "int32")
values = [
    *(asc_loss(a, b, patients, similarity=s, negatives=n, empty=e, temperature=t)
      for s in ("dice", "iou", "cosine") for n in ("all", "other_patients")
      for e in ("keep", "skip") for t in (0.3, 1.0)),
    segmentation_loss(a, b, bce_weight=10.0, dice_weight=7.0),
    *squared_difference(a, b),
    *seen_by_either(a, b),
    after_burn_in(0.5, 0.4, 0.3),
    *np.asarray(network(a16, training=False)).ravel()[:8],
    *mutual_squared_difference(a, b),
    *mean_entropy(a),
    certain_squared_difference(a, b, pixel_entropy(b), 0.8),
    *cross_pseudo_supervision(a, b),
    *confident_cross_entropy(a, b, 0.8),
    rectified_consistency([a, b, 0.5 * a]),
    *np.asarray(sample_noise.uniform(seeds, (4,), 7)).ravel(),
    *np.asarray(sample_noise.uniform(sample_noise.seeds_for("purpose", seeds), (4,), 7)).ravel(),
    *np.asarray(sample_noise.symmetric_beta(seeds, 0.2, 7)).ravel(),
    *np.asarray(FeatureNoise(salt=3)([a16, seeds])).ravel()[:8],
    *np.asarray(FeatureDrop(salt=3)([a16, seeds])).ravel()[:8],
]
result = [float(np.asarray(value)) for value in values]
"""


@pytest.mark.parametrize("room", ["losses", "networks"])
def test_no_backend_is_imported(room):
    for path in (pathlib.Path(semicml_tf.__file__).parent / room).glob("*.py"):
        if path.name == "batch_norm.py":  # one backend's kernel, where that backend runs; Keras's own layer elsewhere
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {name.split(".")[0] for name in names} & {"tensorflow", "jax", "torch"}, path


def test_losses_networks_and_noise_are_the_same_under_jax():
    pytest.importorskip("jax", reason="needs JAX: make test-backends")
    scope = {}
    exec(PROGRAM, scope)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM + "import keras\nprint(keras.backend.backend())\nprint(json.dumps(result))"],
        # Compiling takes most of the time, and what is compiled runs once.
        env={**os.environ, "KERAS_BACKEND": "jax", "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    backend, numbers = done.stdout.strip().splitlines()[-2:]
    assert backend == "jax"
    assert json.loads(numbers) == pytest.approx(scope["result"], rel=2e-5, abs=1e-6)
