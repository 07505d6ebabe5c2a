"""The options of `semicml_tf.serving.ray`: of its command, and of the `args` of a Serve config file."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from semicml_tf.configuration import Problem, check, option
from semicml_tf.errors import UserError
from semicml_tf.serving.server import model_config
from semicml_tf.serving.server.model_config import ModelConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class RaySettings:
    """The settings of the application."""

    models: str = option("models", help="Folder of exported models, at the same path on every node.", path=True)
    model_config_file: str = option(
        "",
        help="TensorFlow Serving's models.config (text form). Base paths below /models are below --models. By default, "
        "all models of the folder are served.",
        path=True,
    )
    replicas: int = option(1, help="Replicas of each model. With --max_replicas, the fewest.", low=1)
    max_replicas: int = option(
        0, help="Most replicas of each model: Ray scales between both. 0 means always --replicas.", low=0
    )
    routers: int = option(2, help="Replicas of the deployment between the proxies and the models.", low=1)
    cpus: float = option(1.0, help="Cores that Ray reserves for each replica of a model.", low=0)
    gpus: float = option(0.0, help="GPUs that Ray reserves for each replica of a model. 0.5 puts two on one.", low=0)
    ongoing: int = option(16, help="Calls that a replica computes or has in its batches at the same time.", low=1)
    waiting: int = option(
        64, help="Calls of a model that may wait at a router. Further calls are RESOURCE_EXHAUSTED.", low=0
    )
    max_batch_slices: int = option(
        32, help="Most slices of several calls in one call of the model. 0 means that calls are not joined.", low=0
    )
    batch_wait_s: float = option(0.005, help="Time in seconds that a call waits for others to join.", low=0)
    poll_s: float = option(1.0, help="Time in seconds between two looks for new versions.", low=0)
    grace_s: float = option(30.0, help="Time in seconds for accepted calls to finish when a replica is removed.", low=0)
    any_host: bool = option(
        False,
        help="Answer callers on other machines. Ray's proxy listens on all interfaces in any case. Without this, calls "
        "from other machines are PERMISSION_DENIED.",
    )

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self) -> Iterator[Problem]:
        if self.max_replicas and self.max_replicas < self.replicas:
            yield (
                f"expected --max_replicas of at least --replicas={self.replicas}, got {self.max_replicas}",
                "Raise --max_replicas, or lower --replicas",
            )

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class RayConfig(RaySettings):
    """Options of `semicml_tf.serving.ray`."""

    ray_address: str | None = option(
        None, help="Ray cluster (HOST:PORT, or auto) to serve on. By default, Ray is started on this machine."
    )
    port: int = option(8500, help="Port for gRPC calls.", low=1, high=65535)
    http_port: int = option(8000, help="Port of Ray's HTTP proxy, on this machine only.", low=1)
    port_file: str | None = option(None, help="File for the port; written once calls are answered.", path=True)
    proxy_on_every_node: bool = option(
        True, help="Take calls on every node with a replica, instead of on the head node alone."
    )

    @property
    def application(self) -> RaySettings:
        """The settings of the application alone."""
        return RaySettings(**{field.name: getattr(self, field.name) for field in dataclasses.fields(RaySettings)})


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
