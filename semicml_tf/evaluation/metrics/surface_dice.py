"""Surface DSC at a tolerance. Source: Nikolov et al. 2018, arXiv 1809.04430."""

from semicml_tf.evaluation.metrics.metric import Metric


def _compute(masks):
    if masks.outcome != "both present":
        return 1.0 if masks.outcome == "both empty" else 0.0
    import surface_distance

    found = masks.surface_distances
    return float(surface_distance.compute_surface_dice_at_tolerance(found, masks.surface_tolerance_mm))


METRIC = Metric(
    title="surface DSC",
    compute=_compute,
    at_tolerance=True,
    high=1.0,
    policy={
        "surface_dice": "share of both surfaces' area that lies within the tolerance of the other surface",
        "further measures of empty masks": "IoU and surface DSC 1 where both are empty, 0 where one is; every lesion "
        "of a missed patient is missed, every one of a false alarm is false",
    },
)
