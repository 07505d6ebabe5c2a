"""How models are served on Ray Serve: from flags, or from the `args` of a Serve config file."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.serving.server import model_config
from semicml_tf.serving.server.model_config import ModelConfig


@dataclasses.dataclass(frozen=True)
class RaySettings:
    """The settings of the application.

    Attributes:
        models: folder of exported models, at the same path on every node.
        model_config_file: TensorFlow Serving's models.config, or empty for all models of the folder.
        replicas: of each model; with `max_replicas`, the fewest.
        max_replicas: most replicas of each model, between which Ray scales; 0 means always `replicas`.
        routers: replicas of the deployment that takes calls from the proxies.
        cpus, gpus: that Ray reserves for each replica of a model; parts of one are allowed.
        ongoing: calls that a replica works on or has in its batches at once.
        waiting: calls of a model that may wait at a router for a replica; further ones are RESOURCE_EXHAUSTED.
        max_batch_slices: most slices of several calls in one call of the model; 0 means that calls are not joined.
        batch_wait_s: how long a call waits for others to join.
        poll_s: seconds between two looks for new versions.
        grace_s: time for accepted calls to finish when a replica is taken down.
        any_host: whether callers on other machines are answered.
    """

    models: str = "models"
    model_config_file: str = ""
    replicas: int = 1
    max_replicas: int = 0
    routers: int = 2
    cpus: float = 1.0
    gpus: float = 0.0
    ongoing: int = 16
    waiting: int = 64
    max_batch_slices: int = 32
    batch_wait_s: float = 0.005
    poll_s: float = 1.0
    grace_s: float = 30.0
    any_host: bool = False

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> RaySettings:
        """Settings by name, as `serve run` (strings) or a config file gives them.

        Raises:
            UserError: one is unknown, or of the wrong type.
        """
        kinds = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        unknown = sorted(set(args) - set(kinds))
        if unknown:
            raise UserError(f"unknown settings {unknown}", remedy=f"There are {sorted(kinds)}")
        return cls(**{name: _read(name, value, kinds[name]) for name, value in args.items()})

    def __post_init__(self):
        for name in ("replicas", "routers", "ongoing"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} of at least 1, got {getattr(self, name)}")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, (int, float)) and value < 0:
                raise UserError(f"expected {field.name} of at least 0, got {value}")
        if self.max_replicas and self.max_replicas < self.replicas:
            raise UserError(f"expected max_replicas of at least replicas={self.replicas}, got {self.max_replicas}")

    def configs(self) -> list[ModelConfig]:
        """The models to serve, with paths that hold on every node.

        Raises:
            UserError: there are none.
        """
        models = pathlib.Path(self.models).expanduser().resolve()
        if self.model_config_file:
            return model_config.of_file(self.model_config_file, models)
        found = model_config.of_folder(models)
        if not found:
            raise UserError(
                "expected exported models <model>/<version>/saved_model.pb, found none",
                path=models,
                remedy="Export a run there with python -m semicml_tf.export",
            )
        return found


def _read(name: str, value: Any, kind: type) -> Any:
    words = {"true": True, "1": True, "false": False, "0": False}
    try:
        if kind is bool and isinstance(value, str):
            return words[value.lower()]
        if isinstance(value, bool) != (kind is bool):
            raise ValueError
        return kind(value)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"setting {name}: expected {kind.__name__}, got {value!r}") from error
