"""The models that are served: which versions there are, and in which state each is."""

from __future__ import annotations

import dataclasses
import enum
import threading
from collections.abc import Mapping

from semicml_tf.serving.server.served_model import ServedModel


class NotServed(LookupError):
    """No such model, or no such version of it."""


class UnknownLabel(LookupError):
    """No version of the model has such a label."""


class State(enum.Enum):
    """Of a version, named as `ModelVersionStatus.State` names it."""

    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    END = "END"


@dataclasses.dataclass(frozen=True)
class Version:
    """What is known of a version.

    Attributes:
        state: whether it answers.
        model: while it is available.
        error: why it never was, if it was not.
    """

    state: State
    model: ServedModel | None = None
    error: str = ""


class ModelStore:
    """Versions by model name and number.

    Any thread may ask. A request keeps the version that it was given, whatever becomes of it here.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._models: dict[str, dict[int, Version]] = {}
        self._labels: dict[str, Mapping[str, int]] = {}

    def put(self, name: str, number: int, version: Version) -> None:
        """Replaces what is known of a version."""
        with self._lock:
            self._models.setdefault(name, {})[number] = version

    def label(self, name: str, labels: Mapping[str, int]) -> None:
        """Replaces a model's labels."""
        with self._lock:
            self._labels[name] = dict(labels)

    def names(self) -> dict[str, list[int]]:
        """The available versions, by the name of each model that has one."""
        with self._lock:
            found = {
                name: sorted(number for number, one in held.items() if one.state is State.AVAILABLE)
                for name, held in sorted(self._models.items())
            }
        return {name: numbers for name, numbers in found.items() if numbers}

    def versions(self, name: str) -> dict[int, Version]:
        """What is known of a model's versions, ascending.

        Raises:
            NotServed: nothing is.
        """
        with self._lock:
            if not self._models.get(name):
                raise NotServed(f"Servable not found for request: Latest({name})")
            return dict(sorted(self._models[name].items()))

    def get(self, name: str, version: int | None = None, label: str | None = None) -> ServedModel:
        """An available version of a model: the given one, the one of the label, or the highest.

        Raises:
            NotServed: there is no such model, or no such version that is available.
            UnknownLabel: no version has the label.
        """
        if label is not None:
            with self._lock:
                labels = self._labels.get(name, {})
            if label not in labels:
                raise UnknownLabel(f"Unrecognized servable version label: {label}")
            version = labels[label]
        which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
        with self._lock:
            held = self._models.get(name, {})
            answering = [number for number, one in held.items() if one.state is State.AVAILABLE]
            number = max(answering, default=None) if version is None else version
            if number not in answering:
                raise NotServed(f"Servable not found for request: {which}")
            return held[number].model
