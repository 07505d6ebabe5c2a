"""A SavedModel as MLServer serves it, KServe's open inference protocol over REST; for `benchmarks.serving_wire` alone.

Runs in MLServer's environment, which has no package of ours.
"""

import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class SavedModel(MLModel):
    """The signature `probabilities` of the folder that `parameters.uri` names."""

    async def load(self) -> bool:
        self._loaded = tf.saved_model.load(self.settings.parameters.uri)
        self._signature = self._loaded.signatures["probabilities"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        slices = NumpyCodec.decode_input(payload.inputs[0])
        found = self._signature(slices=tf.constant(slices, tf.float32))["probabilities"].numpy()
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("probabilities", found)])
