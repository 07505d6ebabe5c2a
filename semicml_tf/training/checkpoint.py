"""All of a stage's state in one file, written whole or not at all."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
from typing_extensions import NotRequired, TypedDict

from semicml_tf.errors import UserError
from semicml_tf.methods.base import Method
from semicml_tf.system import atomic_files, json_files, npz_files

WHAT, REMEDY = "a checkpoint", "Delete it and train again"
_META, _OWN = "meta", "own_statistics"


class Meta(TypedDict):
    """The JSON in a checkpoint."""

    run_hash: str
    position: NotRequired[dict[str, Any]]
    method_state: dict[str, Any]


def _variables(method: Method) -> dict[str, Any]:
    groups = {f"network/{key}": network.weights for key, network in method.networks().items()}
    groups |= {f"optimizer/{name}": opt.variables for name, opt in method.student_optimizers.items()}
    return {f"{group}/{index:04d}": v for group, held in groups.items() for index, v in enumerate(held)}


def save(path: pathlib.Path, method: Method, meta: dict[str, Any], own: np.ndarray | None = None) -> None:
    """Writes networks, optimisers, the method's state and `meta` (JSON values) to one npz file.

    Args:
        own: what replicas do not hold in common, of `OwnStatistics.rows`.
    """
    arrays = {key: np.asarray(variable) for key, variable in _variables(method).items()}
    arrays |= {} if own is None else {_OWN: own}
    text = json.dumps({**meta, "method_state": method.state()})
    atomic_files.write_file(path, lambda stream: np.savez(stream, **arrays, **{_META: np.array(text)}))


def not_finite(method: Method) -> list[str]:
    """Keys of networks and optimisers that hold a NaN or an infinity; such a state is worth no checkpoint."""
    held = ((key, np.asarray(variable)) for key, variable in _variables(method).items())
    spoilt = (key for key, array in held if array.dtype.kind == "f" and not np.isfinite(array).all())
    return list(dict.fromkeys(key.rpartition("/")[0] for key in spoilt))


def read_meta(path: pathlib.Path) -> Meta:
    """The `meta` that was saved.

    Raises:
        UserError: the file is no whole checkpoint.
    """
    try:
        with npz_files.Arrays(path) as stored:
            text = str(stored[_META])
    except npz_files.BROKEN as error:
        raise _unreadable(path, error) from error
    return _parsed(path, text)


def _parsed(path: pathlib.Path, text: str) -> Meta:
    return json_files.parse(text, Meta, what=WHAT, path=path, remedy=REMEDY, max_bytes=json_files.MAX_BYTES_OF_CASES)


def _unreadable(path: pathlib.Path, error: Exception) -> UserError:
    return UserError(f"expected {WHAT} ({error})", path=path, remedy=REMEDY)


def restore(path: pathlib.Path, method: Method) -> np.ndarray | None:
    """Puts back what `save` wrote, bit for bit, and returns its `own`.

    Raises:
        UserError: the file cannot be read, or holds other networks than `method` has.
    """
    try:
        with npz_files.Arrays(path) as stored:
            arrays = {key: stored[key] for key in stored}
        text = str(arrays.pop(_META))
    except npz_files.BROKEN as error:
        raise _unreadable(path, error) from error
    state = _parsed(path, text)["method_state"]
    own, variables = arrays.pop(_OWN, None), _variables(method)
    if arrays.keys() != variables.keys() or any(a.shape != tuple(variables[key].shape) for key, a in arrays.items()):
        raise UserError(
            "this checkpoint holds other networks than the flags describe",
            path=path,
            remedy="Resume with the flags that the run began with, or choose another --output",
        )
    for key, array in arrays.items():
        if array.dtype.kind in "USMm":  # text or times
            raise _unreadable(path, ValueError(f"{key} holds no numbers"))
    for key, variable in variables.items():
        variable.assign(arrays[key])
    try:
        method.restore_state(state)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unreadable(path, ValueError(f"the state of the method is wrong: {error!r}")) from error
    return own


def take_over(method: Method, previous: Method) -> None:
    """Copies networks that both stages have, by key, and the state that the earlier one hands on."""
    held = previous.networks()
    for key, network in method.networks().items():
        if key in held:
            network.set_weights(held[key].get_weights())
    method.restore_state(previous.state())


def save_weights(path: pathlib.Path, network) -> None:
    """Writes one network's weights, in the order of `get_weights`."""
    arrays = {f"{index:04d}": weight for index, weight in enumerate(network.get_weights())}
    atomic_files.write_file(path, lambda stream: np.savez(stream, **arrays))
