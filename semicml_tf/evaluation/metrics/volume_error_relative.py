"""Volume of the prediction less that of the truth, as a share of the truth's volume."""

from semicml_tf.evaluation.metrics.metric import Metric

METRIC = Metric(
    title="volume error relative",
    compute=lambda masks: (masks.predicted - masks.true) / masks.true if masks.true else None,
    always_defined=False,
    low=-1.0,
)
