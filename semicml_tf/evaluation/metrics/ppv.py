"""Positive predictive value (precision), ``|P and T| / |P|``."""

from semicml_tf.evaluation.metrics.metric import Metric


def _compute(masks):
    if masks.predicted:
        return masks.hits / masks.predicted
    return 0.0 if masks.true else None


METRIC = Metric(title="PPV", compute=_compute, always_defined=False, main=True, high=1.0)
