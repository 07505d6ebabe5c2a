"""The options of `semicml_tf.evaluate` and `semicml_tf.compare`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.storage.access import DatasetAccess

PARTITIONS = ("labelled", "validation", "test")
CASE_IMAGES = ("shown", "all", "none")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunData:
    """A run, and the data that its networks are applied to."""

    run: str = option(help="Folder of the run.", path=True)
    dataset: str | None = option(
        None, help="Folder or URL of the converted data. The default is the run's own data.", path=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scoring:
    """How masks are scored."""

    partition: str = option("test", help="Partition whose patients are scored.", choices=PARTITIONS)
    modalities: tuple[str, ...] = option(
        (), help="Modalities whose networks are scored. The default is all modalities of the run."
    )
    allow_other_data: bool = option(
        False,
        help="Accept data with another hash than the data of the training, for example another split of the same "
        "patients.",
    )
    surface_tolerance_mm: float = option(
        2.0, help="Distance in mm within which two surfaces count as equal in the surface DSC.", low=0.0
    )
    failure_dice: float = option(
        0.5, help="A patient with a DSC below this value is listed by name among the failures.", low=0.0, high=1.0
    )
    case_images: str = option(
        "shown",
        help="Images to keep for the report. 'shown' keeps one slice of each patient, and the volumes of the ten worst "
        "and the five best patients. 'all' keeps the volumes of all patients. 'none' keeps no image. The images are "
        "8-bit, on the network's grid: 1 to 2 MB per patient of 100 x 128 x 128 voxels.",
        choices=CASE_IMAGES,
    )
    batch_size: int = option(16, help="Slices per call of a network.", low=1)
    jobs: int = option(0, help="Masks that are scored at the same time, on threads. 0 means one per core.", low=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Scoring, DatasetAccess, RunData):
    """Options of `semicml_tf.evaluate`."""

    output: str | None = option(None, help="Folder to write. The default is RUN/evaluation/PARTITION.", path=True)
    require_margin: float | None = option(
        None,
        help="Minimum lead in mean DSC of each network over both no-network baselines. If a network does not reach "
        "it, the command writes all files and then fails.",
        low=0.0,
    )
    choose_postprocessing: bool = option(
        False,
        help="Instead of scoring: try post-processing of the masks on the validation patients, and write what improves "
        "the DSC to RUN/postprocessing.json. Evaluation, export and prediction then apply it.",
    )

    def __post_init__(self):
        check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Compared:
    runs: tuple[str, ...] = option(
        help="Folders of evaluated runs, or their metrics.json files.", path=True, repeated=True
    )
    names: tuple[str, ...] = option((), help="Names of the runs in the table. The default is their folders' names.")
    dataset: str | None = option(
        None,
        help="Folder or URL of converted data. If given, each run is scored on these data first.",
        path=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareConfig(Scoring, DatasetAccess, _Compared):
    """Options of `semicml_tf.compare`. Those of scoring count where --dataset is given."""

    output: str | None = option(
        None,
        help="Folder for comparison.md and comparison.json. By default, no file is written.",
        path=True,
    )

    def __post_init__(self):
        check(self)
