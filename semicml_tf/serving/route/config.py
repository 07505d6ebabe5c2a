"""The options of `semicml_tf.serving.route`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import option
from semicml_tf.inference.config import SegmentConfig
from semicml_tf.serving.client.config import RemoteOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Route:
    address: str = option(
        "127.0.0.1:8500", help="HOST:PORT of the server. Of several servers: ct=HOST:PORT,pet=HOST:PORT."
    )
    strict: bool = option(False, help="Fail if a model is missing, instead of segmenting without it.")
    json: str | None = option(
        None, help="File for the choice of models. The default is beside the mask: mask.json.", path=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RouteConfig(RemoteOptions, SegmentConfig, _Route):
    """Options of `semicml_tf.serving.route`."""
