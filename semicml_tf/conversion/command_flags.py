"""The flags of the command `semicml_tf.convert`."""

from __future__ import annotations

from absl import flags

# Named here, since the layouts' modules, which --help must not wait for, read files by libraries of their own.
AUTO = "auto"
LAYOUTS = (
    "hecktor", "hecktor2021", "brats", "brats2023", "decathlon", "nnunet", "bids", "csv", "dicom"
)  # fmt: skip
MAX_VOXELS = 1 << 30
LOCAL_RUNNER = "local"

# Flags that say where and how fast, not what: they leave no trace in the output.
WITHOUT_EFFECT = (
    "output", "workers", "runner", "beam_flag", "overwrite", "report", "pseudonym_map", "verify_only", "case_cache",
    "max_voxels",
)  # fmt: skip
# Flags that hold places on this machine, which may hold names of patients.
PLACES = ("input", "split", "keep_split")


def define(values: flags.FlagValues) -> None:
    """Defines them all, in the order in which `--help` tells them."""
    for group in (_source, _grid, _label, _split, _deliveries, _verification, _privacy, _work):
        group(values)


def _source(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_string("input", None, "Folder of the images, or a CSV manifest.", **text)
    flags.DEFINE_string("output", None, "Folder to make; or s3://BUCKET/FOLDER, gs://..., to upload it to.", **text)
    flags.DEFINE_string(
        "layout",
        AUTO,
        f"auto, or one of {', '.join(LAYOUTS)}; auto tells by the names of folders and files.",
        **text,
    )
    flags.DEFINE_list("modalities", [], "Names of the modalities, e.g. ct,pet or t2,t1ce.", **text)
    flags.DEFINE_bool("allow_missing_modality", False, "Accept unlabelled and test cases that lack a modality.", **text)
    flags.DEFINE_bool(
        "accept_near_matches", False, "Take a misnamed file where it is the only one that can be meant.", **text
    )
    flags.DEFINE_multi_string(
        "dicom_series",
        [],
        "MODALITY=REGEX: the DICOM series whose SeriesDescription holds the expression, in any case of letters. Needed "
        "where a study has several series that could be meant (T1 and T2 are both MR); may be repeated.",
        **text,
    )
    flags.DEFINE_string(
        "label_roi",
        "",
        "Regular expression, searched in the names of DICOM-SEG segments and RTSTRUCT structures (in BIDS, of label "
        "files). Needed where there is more than one; segments that match are united.",
        **text,
    )


def _grid(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_enum(
        "plan",
        "none",
        ("none", "auto"),
        "auto: choose from the data whatever of --spacing_mm, --normalisation and --window is not given, and say why.",
        **text,
    )
    flags.DEFINE_integer(
        "window", None, "Side in pixels of the slices to train on; with --plan=auto, the spacing follows it.", **text
    )
    flags.DEFINE_string("reference_modality", "", "Whose box the common grid covers; default: the first one.", **text)
    flags.DEFINE_list(
        "spacing_mm", ["0", "0", "0"], "SLICE,ROW,COLUMN distances of the common grid; 0 keeps the case's own.", **text
    )
    flags.DEFINE_list(
        "normalisation",
        [],
        "MODALITY=KIND:LOW:HIGH,...; kinds: hu, suv (window in native units), percentile (then z-score). The kind also "
        "says how values are checked. Default: hu:-200:300 for ct, suv:0:15 for pet, percentile:0.5:99.5 for mr, t1, "
        "t1ce, t2, flair, adc, dwi, pd, swi and dce, in any spelling. Any other name needs one.",
        **text,
    )
    flags.DEFINE_enum(
        "crop",
        "body",
        ("body", "none"),
        "body: keep the box of what is body in any modality, found from the intensities alone, and 10 mm around it; "
        "none: keep the whole grid.",
        **text,
    )


def _label(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_list("label_values", ["1"], "Values of the label map that are foreground.", **text)
    flags.DEFINE_list(
        "background_values", ["0"], "Values of the label map that are not; any other is an error.", **text
    )
    flags.DEFINE_string(
        "label_on",
        "",
        "Modality on whose grid the labels were drawn. Default: ct in the layout hecktor, else the reference modality.",
        **text,
    )
    flags.DEFINE_bool("allow_empty_labels", False, "Accept labelled cases without any foreground.", **text)


def _split(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_string(
        "split",
        "",
        "JSON file {PARTITION: [PATIENT or CASE, ...]}. Default: the manifest's partitions, or split.json in the input "
        "folder.",
        **text,
    )
    flags.DEFINE_integer("split_seed", None, "Draw the split by patient from this seed instead.", **text)
    flags.DEFINE_float(
        "labelled_fraction",
        None,
        "Hide masks: label this fraction of the patients with a mask alone, and use the others without theirs. "
        "Default, and 1: all patients with a mask who are neither tested nor validated on are labelled.",
        **text,
    )
    flags.DEFINE_string(
        "labelled_cases",
        None,
        "Hide masks: label so many patients alone. 'all' says the default; with --keep_split it also labels patients "
        "who are unlabelled in that split and have a mask now.",
        **text,
    )
    flags.DEFINE_float("validation_fraction", 0.1, "Fraction of the patients with a mask drawn for validation.", **text)
    flags.DEFINE_float("test_fraction", 0.2, "Fraction of the patients with a mask drawn for testing.", **text)
    flags.DEFINE_enum(
        "stratify",
        "none",
        ("none", "lesion_size"),
        "lesion_size: spread small and large lesions evenly over the drawn partitions with labels. Masks of patients "
        "that are drawn as unlabelled stay unread. With --folds only where no mask is hidden.",
        **text,
    )
    flags.DEFINE_integer("folds", None, "Cross-validation: draw this many folds.", lower_bound=2, **text)
    flags.DEFINE_integer(
        "fold",
        None,
        "Which fold's patients validate, from 0; of --folds, or of those in --split.",
        lower_bound=0,
        **text,
    )


def _deliveries(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_integer(
        "span",
        None,
        "Of an input with the folders span-1, span-2, ...: the last delivery to read, with all before it. Default: the "
        "newest.",
        lower_bound=0,
        **text,
    )
    flags.DEFINE_string(
        "keep_split",
        "",
        "split.json of a dataset made from fewer data: who is in it stays in that partition, and --new_patients says "
        "where the others go.",
        **text,
    )
    flags.DEFINE_enum(
        "new_patients",
        "train",
        ("train", "draw"),
        "Partition of the patients of a later delivery, or that are not in --keep_split, where the input has no split "
        "of its own. train: labelled where they have labels and all modalities, else unlabelled; draw: from "
        "--split_seed, by the fractions.",
        **text,
    )
    flags.DEFINE_enum(
        "repeated_cases",
        "refuse",
        ("refuse", "replace"),
        "A case that comes again in a later delivery: is an error, or replaces the former.",
        **text,
    )


def _verification(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_bool("verify_only", False, "Look at every case and tell what is wrong; convert nothing.", **text)
    flags.DEFINE_integer(
        "max_voxels",
        MAX_VOXELS,
        "A volume of more voxels is refused before memory is taken.",
        lower_bound=1,
        **text,
    )
    flags.DEFINE_bool("skip_bad_cases", False, "Leave out the cases that verification finds an error in.", **text)
    flags.DEFINE_list(
        "accept",
        [],
        "CODE,...: errors of verification about values, voxel sizes or the size of a label that are meant. They become "
        "warnings. The dataset and the exported models keep the codes, so that prediction accepts such images, too.",
        **text,
    )
    flags.DEFINE_string(
        "report",
        "",
        "JSON file of what verification found. Default: OUTPUT.verify.json where no dataset is made.",
        **text,
    )
    flags.DEFINE_bool("preview", False, "Draw a contact sheet of every case, and a page of them all.", **text)


def _privacy(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_bool(
        "pseudonymize",
        False,
        "Name cases by a salted hash, and tell no name or path of the input. DICOM is converted so in any case.",
        **text,
    )
    flags.DEFINE_string(
        "pseudonym_map",
        "",
        "JSON file, to be kept to yourself, with the salt and with whose pseudonym is whose; made if it is not there. "
        "Default: OUTPUT.pseudonyms.json.",
        **text,
    )


def _work(values: flags.FlagValues) -> None:
    text = {"flag_values": values}
    flags.DEFINE_integer("cases_per_shard", 8, "Cases in a shard, at most.", lower_bound=1, **text)
    flags.DEFINE_integer("workers", 0, "Processes that work on cases; 0 = one a core.", lower_bound=0, **text)
    flags.DEFINE_string(
        "runner",
        LOCAL_RUNNER,
        "Where the work runs: local (processes on this machine), or a runner of Apache Beam, e.g. DaskRunner or "
        "FlinkRunner. All workers must see the input and the output's folder under the same path.",
        **text,
    )
    flags.DEFINE_multi_string(
        "beam_flag", [], "One of Beam's own flags, e.g. --beam_flag=--flink_master=HOST:8081; may be repeated.", **text
    )
    flags.DEFINE_string(
        "case_cache",
        "",
        "Folder to keep finished cases in: another conversion that comes upon the same files with the same flags takes "
        "them from there. It holds paths of the input, as --pseudonym_map does.",
        **text,
    )
    flags.DEFINE_bool("overwrite", False, "Replace a dataset that is in the output folder.", **text)
