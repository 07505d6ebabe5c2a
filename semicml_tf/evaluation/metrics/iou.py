"""IoU, ``|P and T| / |P or T|``. Source: Jaccard 1912, doi 10.1111/j.1469-8137.1912.tb05611.x."""

from semicml_tf.evaluation.metrics.metric import Metric


def _compute(masks):
    either = masks.predicted + masks.true - masks.hits
    return masks.hits / either if either else 1.0


METRIC = Metric(title="IoU", compute=_compute, high=1.0)
