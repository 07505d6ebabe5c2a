"""The application on Ray Serve, and its start and end on a cluster or on this machine."""

from __future__ import annotations

import os
import pathlib
import signal
import threading
from collections.abc import Mapping
from typing import Any

from semicml_tf.errors import UserError
from semicml_tf.serving.ray.settings import RayConfig, RaySettings
from semicml_tf.system import atomic_files

APPLICATION = "semicml_tf"
_ROOT = pathlib.Path(__file__).resolve().parents[3]  # where the package lies


def build(args: Mapping[str, Any]):
    """The application, for `serve run semicml_tf.serving.ray.application:build NAME=VALUE ...` and Serve config files.

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
        # Half of a replica's calls: the other half is reserve while another replica starts.
        scaling["target_ongoing_requests"] = max(1, settings.ongoing / 2)
        options = {"num_replicas": None, "autoscaling_config": scaling}
    replicas = serve.deployment(Replica).options(
        max_ongoing_requests=settings.ongoing,
        max_queued_requests=settings.waiting,
        graceful_shutdown_timeout_s=settings.grace_s,
        # A damaged model does not recover by itself: three attempts instead of twenty.
        max_constructor_retry_count=3,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
        **options,
    )
    router = serve.deployment(Router).options(
        name="router",
        num_replicas=settings.routers,
        # A router keeps calls that wait for a replica. The limit is that of the replicas.
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


def _connect(ray, config: RayConfig) -> None:
    if not config.ray_address:
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
        return
    try:
        ray.init(address=config.ray_address, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(
            f"no Ray cluster at {config.ray_address} ({str(error).splitlines()[0][:200]})",
            remedy="Start one with ray start --head, or leave --ray_address out; one that asks for tokens wants"
            " RAY_AUTH_MODE=token",
        ) from error
    if ray.serve.status().proxies:
        # Its proxies would keep their ports, without these services.
        raise UserError(
            f"Serve runs on the cluster at {config.ray_address} already",
            remedy="End it with serve shutdown, or add the application with serve deploy; see serving/ray.yaml",
        )


def _check_room(ray, settings: RaySettings, models: int) -> None:
    """Raises UserError if the cluster has too few cores or GPUs: Ray would wait for them forever."""
    available = ray.cluster_resources()
    for kind, each in (("CPU", settings.cpus), ("GPU", settings.gpus)):
        wanted = each * settings.replicas * models
        if wanted > available.get(kind, 0):
            raise UserError(
                f"{models} models with {settings.replicas} replicas each need {wanted:g} {kind}s, Ray has"
                f" {available.get(kind, 0):g}",
                remedy="Lower --replicas, --cpus or --gpus, or join more nodes",
            )


def _start(serve, settings: RaySettings, config: RayConfig) -> None:
    from semicml_tf.serving.ray import services

    serve.start(
        proxy_location="EveryNode" if config.proxy_on_every_node else "HeadOnly",
        http_options={"host": "127.0.0.1", "port": config.http_port},
        grpc_options={
            "port": config.port,
            "grpc_servicer_functions": list(services.FUNCTIONS),
            # It would need the messages, which need TensorFlow.
            "enable_reflection": False,
        },
    )
    serve.run(build(settings), name=APPLICATION)


def serve(config: RayConfig) -> None:
    """Serves until SIGTERM or Ctrl-C.

    Raises:
        UserError: Ray is not installed or cannot be reached, or the models do not fit on the cluster.
    """
    settings = config.application
    configs = settings.configs()
    ray = _import_ray()
    _connect(ray, config)
    try:
        _check_room(ray, settings, len(configs))
        try:
            _start(ray.serve, settings, config)
        except RuntimeError as error:
            raise UserError(
                f"Ray could not start the models ({str(error).splitlines()[0][:300]})",
                path=config.models,
                remedy="See the replicas' logs below /tmp/ray/session_latest/logs/serve",
            ) from error
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        print(f"serving {', '.join(one.name for one in configs)} on port {config.port}", flush=True)
        if config.port_file:
            atomic_files.write_text(config.port_file, f"{config.port}\n")
        stop.wait()
    finally:
        ray.serve.shutdown()
        ray.shutdown()
    print("stopped", flush=True)
