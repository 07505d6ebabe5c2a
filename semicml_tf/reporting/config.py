"""The options of `semicml_tf.report`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.evaluation.config import PARTITIONS


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Options of `semicml_tf.report`."""

    run: tuple[str, ...] = option(
        help="Folder of a run, or of a cross-validation. May be given several times.", path=True, repeated=True
    )
    partition: str = option("test", help="Partition whose scores are shown.", choices=PARTITIONS)
    external: tuple[str, ...] = option(
        (),
        help="metrics.json of the masks of another tool, which python -m semicml_tf.evaluate --masks writes. May be "
        "given several times.",
        path=True,
        repeated=True,
    )
    output: str | None = option(
        None, help="The page. The default is report.html in the folder of the (first) run.", path=True
    )
    images: bool = option(True, help="Put images of patients into the page: slices, and volumes for the viewer.")

    def __post_init__(self):
        check(self)
