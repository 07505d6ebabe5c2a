"""Whether a dataset is the one that a run was trained on."""

from __future__ import annotations

from semicml_tf.errors import UserError
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.training.run_folder import Run


def require(run: Run, info: DatasetInfo) -> None:
    """Raises UserError if `info` is another dataset than the run's."""
    if info.data_hash != run.data_hash:
        raise UserError(
            f"these data (hash {info.data_hash[:12]}) are not those that the run was trained on "
            f"({run.data_hash[:12]}, {run.dataset})",
            path=info.location,
            remedy="Give the run's own data as --dataset",
        )
