"""Random slices in native units: a check that the signature `raw` normalises as the package does."""

from __future__ import annotations

import numpy as np

from semicml_tf.artefact.manifest import CONSTANT_NAMES, INPUT_NAME, Manifest


def made_up(manifest: Manifest, count: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Inputs of the signature `raw`, and the normalised slices that the network must receive.

    Values exceed the limits of the normalisation on both sides. If the constants depend on the volume, each slice is
    treated as a volume.

    Args:
        manifest: of the model.
        count: of slices.

    Returns:
        The inputs of `raw` by name; the same slices normalised, float32 (count, *patch.shape).
    """
    how, shape = manifest.normalisation, (count, *manifest.patch.shape)
    low, high = (how.low, how.high) if how.fixed else (10.0, 500.0)
    margin = (high - low) / 4
    natives = np.random.default_rng(seed).uniform(low - margin, high + margin, shape)
    natives = natives.astype(np.float32)
    constants = [how.constants(one) for one in natives]
    inputs = {INPUT_NAME: natives}
    if manifest.takes_constants:
        inputs |= {name: np.float32([getattr(one, name) for one in constants]) for name in CONSTANT_NAMES}
    return inputs, np.stack([one.apply(native) for one, native in zip(constants, natives)])
