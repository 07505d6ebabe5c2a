"""Serves exported models over gRPC as TensorFlow Serving does, from one small process.

  python -m semicml_tf.serving.server --models=models/ --port=8500
  python -m semicml_tf.serving.server --models=models/ --model_config_file=serving/models.config

Each subfolder of --models with numbered versions is a model, of which the highest version is served; or the models of
a models.config of TensorFlow Serving. A version that is added while the server runs is loaded, warmed up and then
served in place of the former. The server answers PredictionService (Predict, GetModelMetadata), ModelService
(GetModelStatus) and grpc.health.v1.Health. It listens on this machine only unless --host says otherwise. Calls are
encrypted with --tls_certificate.
"""

from __future__ import annotations

from semicml_tf.serving.server.config import ServerConfig

CONFIG = ServerConfig


def main(config: ServerConfig) -> None:
    """Serves until the process is asked to stop."""
    from semicml_tf.serving.server.job import serve

    serve(config)
