"""Serves exported models on Ray Serve, on one machine or several: TensorFlow Serving's PredictionService.

  python -m semicml_tf.serving.ray --models=models/ --port=8500 --replicas=2
  python -m semicml_tf.serving.ray --models=/shared/models --ray_address=auto --replicas=4 --any_host

Without --ray_address, the command starts Ray on this machine and stops it at the end. With it, the command serves on a
cluster that runs (`ray start`). Replicas, batching, scaling and metrics are Ray's. Needs the extra [ray]; see
docs/serving.md.
"""

from __future__ import annotations

from semicml_tf.serving.ray.settings import RayConfig

CONFIG = RayConfig


def main(config: RayConfig) -> None:
    """Serves until the process is asked to stop."""
    from semicml_tf.serving.ray.application import serve

    serve(config)
