"""ASSD: mean distance of the elements of both surfaces, pooled, weighted by surface area.

Source: Heimann et al. 2009, doi 10.1109/TMI.2009.2013851.
"""

from semicml_tf.evaluation import surfaces
from semicml_tf.evaluation.metrics.metric import Metric


def _compute(masks):
    if masks.outcome != "both present":
        return 0.0 if masks.outcome == "both empty" else masks.grid.diagonal_mm
    return surfaces.pooled_mean_mm(masks.surface_distances)


METRIC = Metric(
    title="ASSD mm",
    compute=_compute,
    main=True,
    policy={"assd": "mean distance over all elements of both surfaces, weighted by surface area"},
)
