"""The options of a conversion."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.conversion.settings import Settings
from semicml_tf.errors import UserError
from semicml_tf.files.dicom import class_rois
from semicml_tf.files.layouts.names import AUTO, PLACES
from semicml_tf.files.layouts.options import LayoutOptions
from semicml_tf.labels import ACTIVATIONS, SIGMOID, SOFTMAX

MAX_VOXELS = 1 << 30
LOCAL_RUNNER = "local"
ALL = "all"  # of --labelled_cases

# Options about places and speed. They do not change the output and are not written into it.
WITHOUT_EFFECT = (
    "output", "workers", "runner", "beam_flag", "overwrite", "report", "pseudonym_map", "verify_only", "case_cache",
    "max_voxels",
)  # fmt: skip
# Options with local paths, which may contain names of patients.
WITH_PATHS = ("input", "split", "keep_split")

_SOURCE, _GRID, _LABEL, _SPLIT = "Input and output", "Grid and intensities", "Labels", "Split"
_DELIVERIES, _VERIFICATION, _PRIVACY, _WORK = "Deliveries", "Verification", "Privacy", "Processes and files"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """The options of a conversion; see the help of each option.

    Raises:
        UserError: options are wrong or contradict each other.
    """

    input: str = option(help="Folder of the images, or a CSV manifest.", path=True, group=_SOURCE)
    output: str = option(
        help="Folder of the new dataset, or a URL to upload it to: s3://BUCKET/FOLDER, gs://... With --verify_only, "
        "the report is written beside it.",
        path=True,
        group=_SOURCE,
    )
    layout: str = option(
        AUTO,
        "Layout of the input. auto recognises it by the names of folders and files.",
        choices=(AUTO, *PLACES),
        group=_SOURCE,
    )
    modalities: tuple[str, ...] = option((), "Names of the modalities, e.g. ct,pet or t2,t1ce.", group=_SOURCE)
    allow_missing_modality: bool = option(
        False, "Accept cases that lack some of the modalities, but not all.", group=_SOURCE
    )
    accept_near_matches: bool = option(False, "Accept a misnamed file if it is the only candidate.", group=_SOURCE)
    dicom_series: tuple[str, ...] = option(
        (),
        "MODALITY=REGEX: the DICOM series whose SeriesDescription contains the expression, in upper or lower case. "
        "Needed if several series of a study have the same modality (T1 and T2 are both MR).",
        repeated=True,
        group=_SOURCE,
    )
    label_roi: str = option(
        "",
        "Regular expression, searched in the names of DICOM-SEG segments and RTSTRUCT structures (in BIDS, of label "
        "files). Needed if there are several. The label is the union of those that match.",
        group=_SOURCE,
    )
    label_rois: tuple[str, ...] = option(
        (),
        "NAME=REGEX: a class, and the names of its DICOM-SEG segments or RTSTRUCT structures, as in --label_roi. Once "
        "per class. Replaces --labels.",
        repeated=True,
        group=_SOURCE,
    )
    plan: str = option(
        "none",
        "auto: choose --spacing_mm, --normalisation and --window from the data unless they are given, and print why.",
        choices=("none", "auto"),
        group=_GRID,
    )
    window: int | None = option(
        None, "Side in pixels of the slices to train on; with --plan=auto, the spacing follows it.", group=_GRID
    )
    reference_modality: str = option(
        "", "Modality whose box the common grid covers. Default: the first modality.", group=_GRID
    )
    spacing_mm: tuple[float, float, float] = option(
        (0.0, 0.0, 0.0),
        "SLICE,ROW,COLUMN: spacing of the common grid in mm. 0 keeps the spacing of the case.",
        group=_GRID,
    )
    normalisation: tuple[str, ...] = option(
        (),
        "MODALITY=KIND:LOW:HIGH,...; kinds: hu, suv (window in native units), percentile (then z-score). The kind also "
        "decides how values are checked. Default: hu:-200:300 for ct, suv:0:15 for pet, percentile:0.5:99.5 for mr, "
        "t1, t1ce, t2, flair, adc, dwi, pd, swi and dce, in any spelling. Required for other names.",
        group=_GRID,
    )
    crop: str = option(
        "body",
        "body: keep the bounding box of the body in all modalities, computed from the intensities, with a margin of "
        "10 mm. none: keep the whole grid.",
        choices=("body", "none"),
        group=_GRID,
    )
    label_values: tuple[int, ...] = option(
        (1,), "Values of the label map that are foreground, of one target.", group=_LABEL
    )
    labels: tuple[str, ...] = option(
        (),
        "NAME:VALUE+VALUE,...: several targets, each with its values in the label map, such as wt:1+2+4,tc:1+4,et:4. "
        "Replaces --label_values.",
        group=_LABEL,
    )
    label_activation: str = option(
        SIGMOID,
        "Kind of the targets of --labels. sigmoid: regions, which may overlap. softmax: classes, one for each voxel.",
        choices=ACTIVATIONS,
        group=_LABEL,
    )
    ignore_value: int | None = option(
        None,
        "Value of voxels without annotation. Losses, scores and the choice of slices ignore them.",
        group=_LABEL,
    )
    background_values: tuple[int, ...] = option(
        (0,), "Values of the label map that are background. Each other value is an error.", group=_LABEL
    )
    label_on: str = option(
        "",
        "Modality on whose grid the labels were drawn. Default: ct in the layout hecktor, else the reference modality.",
        group=_LABEL,
    )
    allow_empty_labels: bool = option(
        False, "Accept labelled cases without any foreground, such as healthy patients.", group=_LABEL
    )
    split: str = option(
        "",
        "JSON file {PARTITION: [PATIENT or CASE, ...]}. Default: the manifest's partitions, or split.json in the input "
        "folder.",
        path=True,
        group=_SPLIT,
    )
    split_seed: int | None = option(None, "Draw a random split by patient from this seed instead.", group=_SPLIT)
    labelled_fraction: float | None = option(
        None,
        "Hide masks: label only this fraction of the patients with a mask, and use the others without their masks. "
        "Default, and 1: label all patients with a mask who are not drawn for test or validation.",
        group=_SPLIT,
    )
    labelled_cases: str | None = option(
        None,
        "Hide masks: label only this number of patients. 'all' is the default; with --keep_split it also labels "
        "patients who are unlabelled in that split and have a mask now.",
        group=_SPLIT,
    )
    validation_fraction: float = option(
        0.1, "Fraction of the patients with a mask who are drawn for validation.", group=_SPLIT
    )
    test_fraction: float = option(0.2, "Fraction of the patients with a mask who are drawn for testing.", group=_SPLIT)
    stratify: str = option(
        "none",
        "lesion_size: distribute small and large lesions evenly over the drawn partitions with labels. Masks of "
        "unlabelled patients are not read. With --folds, all patients must be labelled.",
        choices=("none", "lesion_size"),
        group=_SPLIT,
    )
    folds: int | None = option(None, "Cross-validation: draw this number of folds.", low=2, group=_SPLIT)
    fold: int | None = option(
        None, "Number of the validation fold, from 0; among --folds, or those in --split.", low=0, group=_SPLIT
    )
    span: int | None = option(
        None,
        "Last delivery to read, with all before it, if the input has the folders span-1, span-2, ... Default: the "
        "newest.",
        low=0,
        group=_DELIVERIES,
    )
    keep_split: str = option(
        "",
        "split.json of a dataset made from fewer data. Its patients keep their partition; --new_patients decides about "
        "the others.",
        path=True,
        group=_DELIVERIES,
    )
    new_patients: str = option(
        "train",
        "Partition of patients who are new in a later delivery or not in --keep_split, if the input has no split. "
        "train: labelled if they have labels and all modalities, else unlabelled. draw: from --split_seed, by the "
        "fractions.",
        choices=("train", "draw"),
        group=_DELIVERIES,
    )
    repeated_cases: str = option(
        "refuse",
        "A case that is also in a later delivery is an error (refuse), or its newest files are used (replace).",
        choices=("refuse", "replace"),
        group=_DELIVERIES,
    )
    verify_only: bool = option(
        False, "Check each case and report what is wrong, without converting.", group=_VERIFICATION
    )
    max_voxels: int = option(
        MAX_VOXELS, "Refuse a volume with more voxels before it takes memory.", low=1, group=_VERIFICATION
    )
    skip_bad_cases: bool = option(False, "Skip the cases with an error.", group=_VERIFICATION)
    accept: tuple[str, ...] = option(
        (),
        "CODE,...: errors about values, voxel sizes or the size of a label that are expected in this study. They "
        "become warnings. The dataset and the exported models store the codes, so that prediction accepts them, too.",
        group=_VERIFICATION,
    )
    report: str = option(
        "",
        "JSON file of the findings. Default: OUTPUT.verify.json if no dataset is made.",
        path=True,
        group=_VERIFICATION,
    )
    preview: bool = option(False, "Draw a contact sheet of each case, and an HTML page of all.", group=_VERIFICATION)
    pseudonymize: bool = option(
        False,
        "Name cases by a salted hash, and print no name or path of the input. DICOM always gets pseudonyms.",
        group=_PRIVACY,
    )
    pseudonym_map: str = option(
        "",
        "JSON file with the salt and the name of each pseudonym, created if missing. Keep it secret. Default: "
        "OUTPUT.pseudonyms.json.",
        path=True,
        group=_PRIVACY,
    )
    cases_per_shard: int = option(8, "Largest number of cases in a shard.", low=1, group=_WORK)
    workers: int = option(0, "Processes that work on cases. 0 means one per core.", low=0, group=_WORK)
    runner: str = option(
        LOCAL_RUNNER,
        "Where the work runs: local (processes on this machine), or a runner of Apache Beam, e.g. DaskRunner or "
        "FlinkRunner. All workers must reach the input and the output's folder under the same path.",
        group=_WORK,
    )
    beam_flag: tuple[str, ...] = option(
        (), "One of Beam's own flags, e.g. --beam_flag=--flink_master=HOST:8081.", repeated=True, group=_WORK
    )
    case_cache: str = option(
        "",
        "Folder of finished cases, shared by conversions: the same files with the same flags are not converted again. "
        "Like --pseudonym_map, it contains paths of the input.",
        path=True,
        group=_WORK,
    )
    overwrite: bool = option(False, "Replace an existing dataset in the output folder.", group=_WORK)

    def __post_init__(self):
        if type(self.labelled_cases) is int:
            object.__setattr__(self, "labelled_cases", str(self.labelled_cases))  # the dataclass is frozen
        check(self, self._contradictions())

    def _contradictions(self):
        yield from self._contradictions_of_the_split()
        if self.labels and self.label_values != (1,):
            yield "--labels and --label_values contradict each other", "Pass one of them"
        for other, usual in (("labels", ()), ("label_values", (1,)), ("label_roi", ""), ("ignore_value", None)):
            if self.label_rois and getattr(self, other) != usual:
                yield f"--label_rois and --{other} contradict each other", "Pass one of them"
        if not self.modalities:  # reported by the job, which also lists the modalities of the input
            return
        try:
            self.settings()
            series = self.layout_options().dicom_series
        except UserError as error:
            yield error.problem, error.remedy or "See --help"
            return
        unknown = sorted(set(series) - {*self.modalities, self.label_on})
        if unknown:
            yield (
                f"--dicom_series names '{unknown[0]}', which is none of --modalities={','.join(self.modalities)}",
                "Correct --dicom_series",
            )

    def _contradictions_of_the_split(self):
        for other in ("split_seed", "keep_split"):
            if self.split and getattr(self, other) not in (None, ""):
                yield f"--split and --{other} contradict each other", "Pass one of them"
        if self.labelled_cases == ALL and self.labelled_fraction is not None:
            yield "--labelled_cases=all and --labelled_fraction contradict each other", "Pass one of them"
        elif self.labelled_cases not in (None, ALL) and not self.labelled_patients:
            yield (
                f"expected --labelled_cases=all or a number of patients from 1 on, got '{self.labelled_cases}'",
                "Correct --labelled_cases",
            )
        if self.split_seed is not None:
            if self.fold is not None and self.folds is None:
                yield "--fold needs --folds if the split is drawn", "Pass for example --folds=5"
            return
        labels_more = self.keep_split and self.labelled_cases == ALL
        for name in ("folds", "labelled_fraction", *(() if labels_more else ("labelled_cases",))):
            if getattr(self, name) is not None:
                yield f"--{name} is for a split that is drawn", "Pass --split_seed=0, too"
        if self.stratify != "none":
            yield "--stratify is for a split that is drawn", "Pass --split_seed=0, too"

    @property
    def labelled_patients(self) -> int | None:
        """The number of labelled patients; None: all, or by --labelled_fraction."""
        text = self.labelled_cases or ""
        return int(text) if text.isdecimal() and int(text) > 0 else None

    def settings(self) -> Settings:
        """How each case is built.

        Raises:
            UserError: options contradict each other, or a modality needs a normalisation.
        """
        return Settings.parse(
            modalities=self.modalities,
            reference_modality=self.reference_modality,
            spacing_mm=self.spacing_mm,
            normalisation=self.normalisation,
            label_values=self.label_values,
            background_values=self.background_values,
            allow_empty_labels=self.allow_empty_labels,
            labels=self.labels or class_rois.as_labels(list(self._rois()), exclusive=self._exclusive),
            label_activation=self.label_activation,
            ignore_value=self.ignore_value,
            allow_missing_modality=self.allow_missing_modality,
            crop=self.crop,
            accept=self.accept,
            planned=self.plan == "auto",
        )

    def layout_options(self) -> LayoutOptions:
        """What the options say about the files of the input.

        Raises:
            UserError: --dicom_series is malformed.
        """
        series: dict[str, str] = {}
        for text in self.dicom_series:
            name, equals, expression = text.partition("=")
            if not equals or not expression or name in series:
                raise UserError(
                    f"expected --dicom_series=MODALITY=REGEX with each modality once, got '{text}'",
                    remedy="For example --dicom_series=t1=^T1",
                )
            series[name] = expression
        return LayoutOptions(
            accept_near_matches=self.accept_near_matches,
            dicom_series=series,
            label_roi=self.label_roi,
            label_rois=self._rois(),
            exclusive=self._exclusive,
        )

    @property
    def _exclusive(self) -> bool:
        return self.label_activation == SOFTMAX

    def _rois(self) -> dict[str, str]:
        """The expression of each class of --label_rois. Raises UserError if one is malformed."""
        return class_rois.parse(self.label_rois, exclusive=self._exclusive)
