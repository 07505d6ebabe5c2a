"""DSC, ``2 |P and T| / (|P| + |T|)``. Source: Dice 1945, doi 10.2307/1932409."""

from semicml_tf.evaluation.metrics.metric import Metric
from semicml_tf.inference.agreement import dice_from_counts

METRIC = Metric(
    title="DSC",
    compute=lambda masks: float(dice_from_counts(masks.hits, masks.predicted, masks.true)),
    main=True,
    high=1.0,
)
