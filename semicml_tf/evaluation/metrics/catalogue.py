"""The metrics by name, and the definitions that every report carries.

A metric is a file of this package with ``METRIC``. To add one, write the file and add its name to `NAMES`: scores,
metrics.json, tables, the report's page and the contract tests follow.
"""

from __future__ import annotations

import importlib

from semicml_tf.evaluation.metrics.metric import Metric

# In the order of the tables.
NAMES = (
    "dice", "ppv", "sensitivity", "hd95_mm", "assd_mm", "iou", "surface_dice", "volume_error_ml",
    "volume_error_relative",
)  # fmt: skip
METRICS: dict[str, Metric] = {
    name: importlib.import_module(f"semicml_tf.evaluation.metrics.{name}").METRIC for name in NAMES
}
MAIN = tuple(name for name, metric in METRICS.items() if metric.main)
FURTHER = tuple(name for name, metric in METRICS.items() if not metric.main)

# The value of each metric for empty masks. A missed lesion must never score well. See `Metric.policy`.
POLICY = {
    "both empty": "DSC 1, HD95 and ASSD 0 mm; PPV and sensitivity undefined",
    "missed": "truth without prediction: DSC, PPV and sensitivity 0, HD95 and ASSD the volume's diagonal in mm",
    "false alarm": "prediction without truth: DSC and PPV 0, HD95 and ASSD the diagonal in mm, sensitivity undefined",
    "undefined": "null; left out of mean and sd, whose n then is less than the number of cases. PPV is undefined only "
    "where there is rightly no prediction, sensitivity only where there is no truth: neither can hide a miss",
    "sd": "sample standard deviation over patients (n - 1)",
    **{name: text for metric in METRICS.values() for name, text in metric.policy.items()},
    "lesions": "connected components (26 neighbours); a lesion of the truth is found if one of its voxels is "
    "predicted, a predicted one is false if none of its voxels is true",
    "without_missed_and_false_alarms": "the same means over the patients in whom both masks are present or both empty; "
    "all other means count a missed patient and a false alarm as said above",
}


def title(name: str) -> str:
    """The heading of a column. Names that are not metrics are used as they are, without underscores."""
    return METRICS[name].title if name in METRICS else name.replace("_", " ")


def digits(name: str) -> int:
    """Decimals of a column."""
    return 1 if name.endswith(("_mm", "_ml", "_percent")) else 3
