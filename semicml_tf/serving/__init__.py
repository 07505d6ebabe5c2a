"""Published networks behind TensorFlow Serving's gRPC API: a small server and clients for volumes.

`connect` opens a served model: ``semicml_tf.serving.connect("127.0.0.1:8500", "ct").predict(array, affine)``.
"""


def connect(address: str, model: str, **settings):
    """A model on a server, used as `semicml_tf.load` gives one; see
    `semicml_tf.serving.client.remote_model.RemoteModel`.

    Args:
        address: ``host:port``.
        model: its name on the server, e.g. ``ct``.
        settings: of `RemoteModel`, e.g. ``version=3``, ``parallel=8``, ``deadline_s=20``, ``credentials=...``.
    """
    # Imported late: TensorFlow takes seconds to load, and whoever imports a module of this package would wait for it.
    from semicml_tf.system import quiet_import

    quiet_import.tensorflow()
    from semicml_tf.serving.client.remote_model import RemoteModel

    return RemoteModel(address, model, **settings)
