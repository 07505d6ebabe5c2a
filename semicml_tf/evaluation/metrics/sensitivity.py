"""Sensitivity (recall), ``|P and T| / |T|``."""

from semicml_tf.evaluation.metrics.metric import Metric

METRIC = Metric(
    title="sensitivity",
    compute=lambda masks: masks.hits / masks.true if masks.true else None,
    always_defined=False,
    main=True,
    high=1.0,
)
