"""Two steps of each method that has mutual terms, on two modalities.

``python -m tests.support.two_modality_steps FILE`` writes their terms as JSON. The stored file is of the last version
that knew two modalities only.
"""

import json
import pathlib
import sys

from tests.support import method_batches

STORED = pathlib.Path(__file__).parents[1] / "methods" / "two_modality_steps.json"
# Without ramps and a cosine, which would be the only numbers in float32.
_COMMON = {
    "optimizer": "sgd",
    "learning_rate": 0.05,
    "lr_schedule": "drops",
    "lr_warmup_epochs": 0.0,
    "burn_in": 0.0,
    "ramp": 0.0,
    "unlabelled_ramp": 0.0,
}
CASES = {
    "semi_cml": ("semi_cml", {"mse_weight": 1.0}),
    "semi_cml_student": ("semi_cml", {"mse_weight": 1.0, "mse_target": "student"}),
    "prel": ("prel", {}),
    "cross_modal_cps": ("cross_modal_cps", {"unlabelled_weight": 10.0}),
}


def steps(case: str) -> list[dict[str, float]]:
    """The terms of two steps of a case in float64, one operation at a time."""
    name, settings = CASES[case]
    method = method_batches.method(name, precision="float64", **_COMMON, **settings)
    batches = (method_batches.batch(seed, dtype="float64") for seed in range(2))
    return [{key: float(value) for key, value in method.train_step(batch).items()} for batch in batches]


if __name__ == "__main__":
    pathlib.Path(sys.argv[1]).write_text(json.dumps({case: steps(case) for case in CASES}, indent=1) + "\n")
