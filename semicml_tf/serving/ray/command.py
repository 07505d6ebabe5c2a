"""Serves exported models on Ray Serve, on one machine or several: TensorFlow Serving's PredictionService.

    python -m semicml_tf.serving.ray --models=models/ --port=8500 --replicas=2
    python -m semicml_tf.serving.ray --models=/shared/models --ray_address=auto --replicas=4 --any_host

Without --ray_address it starts Ray on this machine and takes it down in the end; with it, it serves on a cluster that
runs (`ray start`). Replicas, batching, scaling and metrics are Ray's. Needs the extra [ray]; see docs/serving.md.
"""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from collections.abc import Mapping
from typing import Any

from absl import flags

from semicml_tf.errors import UserError
from semicml_tf.serving.ray.settings import RaySettings
from semicml_tf.system import atomic_files

APPLICATION = "semicml_tf"
_ROOT = pathlib.Path(__file__).resolve().parents[3]  # holds semicml_tf, so that Ray's processes can import it
_DEFAULTS = RaySettings()


def define_flags(values: flags.FlagValues) -> None:
    def integer(name, text, lowest=0):
        flags.DEFINE_integer(name, getattr(_DEFAULTS, name), text, lower_bound=lowest, flag_values=values)

    def real(name, text):
        flags.DEFINE_float(name, getattr(_DEFAULTS, name), text, lower_bound=0, flag_values=values)

    flags.DEFINE_string(
        "models", _DEFAULTS.models, "Folder of exported models, at the same path on every node.", flag_values=values
    )
    flags.DEFINE_string(
        "model_config_file",
        _DEFAULTS.model_config_file,
        "TensorFlow Serving's models.config (text form); base paths below /models are below --models.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "ray_address", None, "Serve on this Ray cluster (HOST:PORT, or auto); else Ray is started.", flag_values=values
    )
    flags.DEFINE_integer("port", 8500, "Port for gRPC calls.", lower_bound=1, upper_bound=65535, flag_values=values)
    flags.DEFINE_integer(
        "http_port", 8000, "Port of Ray's HTTP proxy, on this machine only.", lower_bound=1, flag_values=values
    )
    flags.DEFINE_string("port_file", None, "Write the port here once calls are answered.", flag_values=values)
    flags.DEFINE_boolean(
        "any_host",
        _DEFAULTS.any_host,
        "Answer callers on other machines. Ray's proxy listens on all interfaces in any case; without this, such calls"
        " are PERMISSION_DENIED.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "proxy_on_every_node",
        True,
        "Take calls on every node with a replica, not on the head alone.",
        flag_values=values,
    )
    integer("replicas", "Replicas of each model; with --max_replicas, the fewest.", 1)
    integer("max_replicas", "Most replicas of each model: Ray scales between both. 0: always --replicas.")
    integer("routers", "Replicas of the deployment between the proxies and the models.", 1)
    real("cpus", "Cores that Ray reserves for each replica of a model.")
    real("gpus", "GPUs that Ray reserves for each replica of a model; 0.5 puts two on one.")
    integer("ongoing", "Calls that a replica works on or has in its batches at once.", 1)
    integer("waiting", "Calls of a model that may wait at a router; further ones are RESOURCE_EXHAUSTED.")
    integer("max_batch_slices", "Most slices of several calls in one call of the model. 0: calls are not joined.")
    real("batch_wait_s", "How long a call waits for others to join.")
    real("poll_s", "Time between two looks for new versions.")
    real("grace_s", "Time for accepted calls to finish when a replica is taken down.")


def build(args: Mapping[str, Any]):
    """The application, for `serve run semicml_tf.serving.ray:build NAME=VALUE ...` and Serve config files.

    Args:
        args: fields of `RaySettings` by name.

    Returns:
        `ray.serve.Application`.

    Raises:
        UserError: a setting is wrong, or there is nothing to serve.
    """
    from ray import serve

    from semicml_tf.serving.ray.model import Replica
    from semicml_tf.serving.ray.router import Router

    settings = args if isinstance(args, RaySettings) else RaySettings.of(args)
    options = {"num_replicas": settings.replicas}
    if settings.max_replicas:
        scaling = {"min_replicas": settings.replicas, "max_replicas": settings.max_replicas}
        # Half of what a replica may have: the other half is room while another one starts.
        scaling["target_ongoing_requests"] = max(1, settings.ongoing / 2)
        options = {"num_replicas": None, "autoscaling_config": scaling}
    replicas = serve.deployment(Replica).options(
        max_ongoing_requests=settings.ongoing,
        max_queued_requests=settings.waiting,
        graceful_shutdown_timeout_s=settings.grace_s,
        # A damaged model does not mend by itself: three times in place of twenty.
        max_constructor_retry_count=3,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        **options,
    )
    router = serve.deployment(Router).options(
        name="router",
        num_replicas=settings.routers,
        # A router holds calls that wait for a replica; it is the replicas that say when it is too many.
        max_ongoing_requests=1_000_000,
        graceful_shutdown_timeout_s=settings.grace_s,
        ray_actor_options={"num_cpus": 0},
    )
    configs = settings.configs()
    models = {one.name: replicas.options(name=f"model-{one.name}").bind(one, settings) for one in configs}
    return router.bind(models, settings.any_host)


def _import_ray():
    # Ray's own 5 s are short for a busy machine. The processes that Ray starts inherit both.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "90")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.serve
    except ImportError as error:
        raise UserError(
            "Ray Serve is not installed", remedy="pip install '.[ray]', or make .venv-ray/ready in the checkout"
        ) from error
    return ray


def _connect(ray, values: flags.FlagValues) -> None:
    if not values.ray_address:
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
        return
    try:
        ray.init(address=values.ray_address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster at {values.ray_address} ({str(error).splitlines()[0][:200]})",
            remedy="Start one with ray start --head, or leave --ray_address out; one that asks for tokens wants"
            " RAY_AUTH_MODE=token",
        ) from error
    if ray.serve.status().proxies:
        # Its proxies would go on as they are, on their ports and without these services.
        raise UserError(
            f"Serve runs on the cluster at {values.ray_address} already",
            remedy="End it with serve shutdown, or add the application with serve deploy; see serving/ray.yaml",
        )


def _check_room(ray, settings: RaySettings, models: int) -> None:
    """Ray would wait for ever for cores that are not there."""
    there = ray.cluster_resources()
    for kind, each in (("CPU", settings.cpus), ("GPU", settings.gpus)):
        wanted = each * settings.replicas * models
        if wanted > there.get(kind, 0):
            raise UserError(
                f"{models} models with {settings.replicas} replicas each need {wanted:g} {kind}s, Ray has"
                f" {there.get(kind, 0):g}",
                remedy="Lower --replicas, --cpus or --gpus, or join more nodes",
            )


def _start(serve, settings: RaySettings, values: flags.FlagValues) -> None:
    from semicml_tf.serving.ray import services

    serve.start(
        proxy_location="EveryNode" if values.proxy_on_every_node else "HeadOnly",
        http_options={"host": "127.0.0.1", "port": values.http_port},
        grpc_options={
            "port": values.port,
            "grpc_servicer_functions": list(services.FUNCTIONS),
            # It would have to know the messages, and they TensorFlow.
            "enable_reflection": False,
        },
    )
    serve.run(build(settings), name=APPLICATION)


def main(values: flags.FlagValues) -> None:
    names = RaySettings.__dataclass_fields__
    settings = RaySettings.of({name: values[name].value for name in names})
    configs = settings.configs()
    ray = _import_ray()
    _connect(ray, values)
    try:
        _check_room(ray, settings, len(configs))
        try:
            _start(ray.serve, settings, values)
        except RuntimeError as error:
            raise UserError(
                f"Ray could not start the models ({str(error).splitlines()[0][:300]})",
                path=values.models,
                remedy="See the replicas' logs below /tmp/ray/session_latest/logs/serve",
            ) from error
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        print(f"serving {', '.join(one.name for one in configs)} on port {values.port}", flush=True)
        if values.port_file:
            atomic_files.write_text(values.port_file, f"{values.port}\n")
        stop.wait()
    finally:
        ray.serve.shutdown()
        ray.shutdown()
    print("stopped", flush=True)
