"""The options of `semicml_tf.export`."""

from __future__ import annotations

import dataclasses

from semicml_tf.artefact.manifest import PROBABILITIES_DTYPES
from semicml_tf.configuration import check, option
from semicml_tf.exporting.gate import MARGIN


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of `semicml_tf.export`."""

    run: str = option(
        help="Folder of a run of python -m semicml_tf.train, or of an ensemble of runs (ensemble.json).", path=True
    )
    output: str = option("models", help="Folder of the models. Each modality has a folder in it.", path=True)
    dataset: str | None = option(
        None, help="Folder or URL of the run's data, if the data have moved since the training.", path=True
    )
    modalities: tuple[str, ...] = option((), help="Modalities to export. The default is all modalities of the run.")
    keep: int | None = option(
        None,
        help="Old versions to keep beside the new version; the others are removed. By default, all are kept.",
        low=1,
    )
    gate_margin: float = option(
        MARGIN,
        help="A network is held back if its validation DSC is below that of the published version by more than this.",
        low=0.0,
    )
    check_input: str | None = option(
        None,
        help="Cases that each network must segment before any network is published: a file, a folder or a CSV "
        "manifest, as predict and convert take them. The images are checked as predict checks them.",
        path=True,
    )
    force: bool = option(False, help="Publish also networks that would be held back.")
    probabilities_dtype: str = option(
        PROBABILITIES_DTYPES[0],
        help="Type in which a server sends probabilities. float16 takes half the bytes.",
        choices=PROBABILITIES_DTYPES,
    )

    def __post_init__(self):
        check(self)
