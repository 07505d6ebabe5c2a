"""HD95: the larger of the two directed 95th percentiles of surface distances, weighted by surface area.

Elements and percentile are those of google-deepmind/surface-distance.
"""

from semicml_tf.evaluation.metrics.metric import Metric

PERCENT = 95


def _compute(masks):
    if masks.outcome != "both present":
        return 0.0 if masks.outcome == "both empty" else masks.grid.diagonal_mm
    import surface_distance

    return float(surface_distance.compute_robust_hausdorff(masks.surface_distances, PERCENT))


METRIC = Metric(
    title="HD95 mm",
    compute=_compute,
    main=True,
    policy={
        "hd95": "the larger one of the two directed 95th percentiles of surface distances, weighted by surface area"
    },
)
