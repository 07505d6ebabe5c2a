"""Volume of the prediction less that of the truth, in ml."""

import math

from semicml_tf.evaluation.metrics.metric import Metric

METRIC = Metric(
    title="volume error ml",
    compute=lambda masks: (masks.predicted - masks.true) * masks.grid.voxel_volume_ml,
    low=-math.inf,
    policy={
        "volume_error": "prediction less truth, in ml and as a share of the truth's volume; the share is undefined "
        "without truth"
    },
)
