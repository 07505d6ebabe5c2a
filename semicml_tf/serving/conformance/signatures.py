"""Checks of the further signatures of this package's models. A signature that a model lacks is skipped."""

from __future__ import annotations

import numpy as np

from semicml_tf.artefact.manifest import (
    DEFAULT,
    EXAMPLES_NAME,
    INPUT_NAME,
    LABELS_NAME,
    MANIFEST,
    MANIFEST_NAME,
    MONTE_CARLO,
    OUTPUT_NAME,
    QUERIES_NAME,
    RAW,
    SEEDS_NAME,
    SERIALIZED,
    Manifest,
)
from semicml_tf.errors import UserError
from semicml_tf.exporting import label_check, native_slices, slice_example
from semicml_tf.serving.conformance.server import HALF_STEP, TOLERANCE, Failed, Server, Skipped, require_close


def _require(server: Server, *signatures: str) -> None:
    declared = server.signatures()
    for name in signatures:
        if name not in declared:
            raise Skipped(f"the model has no signature '{name}'")


def _answer(server: Server, signature: str, inputs: dict, *names: str) -> dict[str, np.ndarray]:
    found = server.outputs(inputs, signature)
    if set(found) != set(names):
        raise Failed(f"'{signature}': expected outputs {sorted(names)}, got {sorted(found)}")
    return found


def _manifest(server: Server) -> Manifest:
    _require(server, MANIFEST)
    answer = _answer(server, MANIFEST, {QUERIES_NAME: np.zeros(1, np.int32)}, MANIFEST_NAME)[MANIFEST_NAME]
    try:
        return Manifest.from_json(bytes(answer[0]).decode(), f"signature '{MANIFEST}'")
    except (IndexError, TypeError, UnicodeDecodeError, UserError) as error:
        raise Failed(str(error)) from error


def _require_labels(labels: np.ndarray, probabilities: np.ndarray, manifest: Manifest) -> None:
    rounding = HALF_STEP if probabilities.dtype == np.float16 else TOLERANCE
    soft = (*probabilities.shape[:-1], manifest.classes)
    hard = (*soft[:-1], 1) if manifest.labels.exclusive else soft
    if probabilities.shape != soft or labels.dtype != np.uint8 or labels.shape != hard:
        raise Failed(
            f"expected probabilities of shape {soft} and uint8 labels of shape {hard}, got {probabilities.shape} and "
            f"{labels.dtype} of {labels.shape}"
        )
    wrong = label_check.contradictions(labels, probabilities, manifest, rounding)
    if wrong.any():
        raise Failed(f"{np.count_nonzero(wrong)} of {wrong.size} labels contradict the probabilities")


def _shares(hard: np.ndarray, manifest: Manifest) -> dict[str, float]:
    """The share of pixels of each class."""
    numbers = enumerate(manifest.labels.names)
    if manifest.labels.exclusive:
        return {name: float(np.mean(hard == number + 1)) for number, name in numbers}
    return {name: float(np.mean(hard[..., number] == 1)) for number, name in numbers}


def manifest(server: Server) -> str:
    """The served manifest lists the signatures that the server declares"""
    import tensorflow as tf

    found, declared = _manifest(server), server.signatures()
    for name, signature in found.signatures.items():
        if name not in declared:
            raise Failed(f"expected signature '{name}' of the manifest, but the server does not declare it")
        for kind, tensors in signature.items():
            actual = {
                key: {
                    "dtype": tf.dtypes.as_dtype(tensor.dtype).name,
                    "shape": [None if size.size < 0 else size.size for size in tensor.tensor_shape.dim],
                }
                for key, tensor in getattr(declared[name], kind).items()
            }
            if actual != tensors:
                raise Failed(f"{kind} of '{name}': expected {tensors} by the manifest, got {actual}")
    names = ", ".join(found.labels.names)
    return f"modality {found.modality}, window {found.window}, {names}, {len(found.signatures)} signatures"


def labels(server: Server) -> str:
    """The default signature gives labels that match the probabilities"""
    manifest, inputs = _manifest(server), server.inputs(3)
    hard = _answer(server, DEFAULT, inputs, LABELS_NAME)[LABELS_NAME]
    _require_labels(hard, server.outputs(inputs)[OUTPUT_NAME], manifest)
    shares = ", ".join(f"{name} {share:.1%}" for name, share in _shares(hard, manifest).items())
    return f"thresholds {', '.join(f'{value:g}' for value in manifest.thresholds.values()) or 'none'}; {shares}"


def raw(server: Server) -> str:
    """Slices in native units and normalised slices give the same results"""
    _require(server, RAW)
    manifest = _manifest(server)
    inputs, normalised = native_slices.made_up(manifest, 3)
    found = _answer(server, RAW, inputs, LABELS_NAME, OUTPUT_NAME)
    expected = server.outputs({INPUT_NAME: normalised})
    require_close({OUTPUT_NAME: found[OUTPUT_NAME]}, expected, TOLERANCE, "raw and normalised")
    _require_labels(found[LABELS_NAME], found[OUTPUT_NAME], manifest)
    return f"{manifest.normalisation}, within {TOLERANCE:g}"


def serialized(server: Server) -> str:
    """Serialised examples and their slices give the same results"""
    _require(server, SERIALIZED)
    manifest, inputs = _manifest(server), server.inputs(3)
    examples = np.array([slice_example.encode(one) for one in inputs[INPUT_NAME]], object)
    found = _answer(server, SERIALIZED, {EXAMPLES_NAME: examples}, LABELS_NAME, OUTPUT_NAME)
    require_close({OUTPUT_NAME: found[OUTPUT_NAME]}, server.outputs(inputs), TOLERANCE, "examples and slices")
    _require_labels(found[LABELS_NAME], found[OUTPUT_NAME], manifest)
    return f"within {TOLERANCE:g}"


def monte_carlo(server: Server) -> str:
    """Equal dropout seeds give equal results, and different seeds give different results"""
    _require(server, MONTE_CARLO)
    slices = np.repeat(server.inputs(1)[INPUT_NAME], 3, 0)

    def drawn(*seeds: int) -> np.ndarray:
        inputs = {INPUT_NAME: slices, SEEDS_NAME: np.int32(seeds)}
        return _answer(server, MONTE_CARLO, inputs, OUTPUT_NAME)[OUTPUT_NAME]

    first = drawn(1, 2, 1)
    require_close({"draw": first[:1]}, {"draw": first[2:]}, TOLERANCE, "equal seeds in a batch")
    require_close({"draw": first}, {"draw": drawn(1, 2, 1)}, 0.0, "repeated request")
    if np.array_equal(first[0], first[1]):
        raise Failed("expected different results for seeds 1 and 2, got equal ones")
    return "equal seeds agree, different seeds differ"


ANSWERED = (manifest, labels, raw, serialized, monte_carlo)
