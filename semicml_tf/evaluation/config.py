"""The options of `semicml_tf.evaluate` and `semicml_tf.compare`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.inference.averaging import Averaging
from semicml_tf.storage.access import DatasetAccess

PARTITIONS = ("labelled", "validation", "test")
CASE_IMAGES = ("shown", "all", "none")
_MASKS = "Masks of another tool"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunData:
    """A run, and the data that its networks are applied to."""

    run: str = option(help="Folder of the run.", path=True)
    dataset: str | None = option(
        None, help="Folder or URL of the converted data. The default is the run's own data.", path=True
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scoring(Averaging):
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
    batch_size: int = option(16, help="Slices or patches per call of a network, at most.", low=1)
    jobs: int = option(0, help="Masks that are scored at the same time, on threads. 0 means one per core.", low=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(Scoring, DatasetAccess, RunData):
    """Options of `semicml_tf.evaluate`: of a run, or of the masks of another tool."""

    run: str | None = option(None, help="Folder of the run.", path=True)
    output: str | None = option(
        None,
        help="Folder to write. The default is RUN/evaluation/PARTITION, or PARTITION-flips-overlap0.75 with these "
        "options; with --masks it is MASKS-evaluation/PARTITION, beside the folder of the masks.",
        path=True,
    )
    require_margin: float | None = option(
        None,
        help="Minimum lead in mean DSC of each network over both no-network baselines. If a network does not reach "
        "it, the command writes all files and then fails.",
        low=0.0,
    )
    choose_postprocessing: bool = option(
        False,
        help="Instead of scoring: try post-processing of the masks on the validation patients, and write the steps "
        "that improve the DSC to RUN/postprocessing.json. Evaluation, export and prediction then apply them.",
    )
    masks: str | None = option(
        None,
        help="Instead of a run: folder of masks that another tool made of the cases of --dataset, as NIfTI, NRRD or "
        "DICOM-SEG: CASE.nii.gz, CASE.nrrd, CASE.dcm, or one file in a folder CASE. Each is on the patient's own grid. "
        "Options of networks (--modalities, --batch_size, --flips, --overlap, --case_images) have no effect.",
        path=True,
        group=_MASKS,
    )
    name: str | None = option(
        None, help="Name of the masks in the tables. The default is the name of their folder.", group=_MASKS
    )
    mask_modality: str | None = option(
        None,
        help="The only modality that the masks were drawn on. They are then compared with its network. Without this "
        "option, they are compared with the network of every modality.",
        group=_MASKS,
    )
    mask_values: tuple[str, ...] = option(
        (),
        help="Values of the mask files that are the target, e.g. 1+2, or NAME:1+2,NAME:3 of several classes; other "
        "values are background. Of a DICOM-SEG, numbers of segments. The default is 1; several classes have the values "
        "of the dataset's labels, or the segments of their names. Other values are then refused.",
        group=_MASKS,
    )

    def __post_init__(self):
        check(self, self._further())

    def _further(self):
        if self.masks is None:
            if self.run is None:
                yield "expected --run, which is missing", "Or name --masks of another tool; see --help"
            for name in ("name", "mask_modality", "mask_values"):
                if getattr(self, name):
                    yield f"--{name} is an option of --masks, which is missing", "Leave it out"
            return
        if self.run is not None:
            yield "expected --run or --masks, got both", "Leave one of them out"
        if self.dataset is None:
            yield "expected --dataset with --masks, which is missing", "Name the converted data of these cases"
        for name in ("choose_postprocessing", "allow_other_data"):
            if getattr(self, name):
                yield f"--{name} is an option of runs, got --masks", "Leave it out"


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
    """Options of `semicml_tf.compare`.

    Without --dataset, the partition, flips and overlap say which evaluation is read. The other options of scoring then
    have no effect.
    """

    output: str | None = option(
        None,
        help="Folder for comparison.md and comparison.json. By default, no file is written.",
        path=True,
    )

    def __post_init__(self):
        check(self)
