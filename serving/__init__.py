"""Commands of `semicml_tf.serving` for a checkout, and the deployment files of a server.

``python -m serving.client`` is ``python -m semicml_tf.serving.client``, and so on.
"""

from semicml_tf.serving import connect

__all__ = ["connect"]
