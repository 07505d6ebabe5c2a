"""The flags of `semicml_tf.evaluate`."""

from __future__ import annotations

from absl import flags

from semicml_tf.storage import access

PARTITIONS = ("labelled", "validation", "test")


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_string("run", None, "The run's folder.", flag_values=values)
    flags.DEFINE_string(
        "dataset",
        None,
        "Folder or URL of the converted data; the run's own if not given. With --compare, the runs are scored on these "
        "data first.",
        flag_values=values,
    )
    access.define_flags(values)
    flags.DEFINE_enum("partition", "test", PARTITIONS, "Whom to score.", flag_values=values)
    flags.DEFINE_list("modalities", [], "Networks to score; none means all of the run.", flag_values=values)
    flags.DEFINE_string(
        "output",
        None,
        "Folder to write; RUN/evaluation/PARTITION if not given. With --compare, nothing is written if not given.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "jobs", 0, "Masks that are scored at a time, on threads; 0 = one a core.", lower_bound=0, flag_values=values
    )
    flags.DEFINE_float(
        "surface_tolerance_mm",
        2.0,
        "Surfaces up to so far apart count as one in the surface DSC.",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_float(
        "failure_dice",
        0.5,
        "Patients of a lower DSC are listed by name among the failures.",
        lower_bound=0.0,
        upper_bound=1.0,
        flag_values=values,
    )
    flags.DEFINE_integer("batch_size", 16, "Slices in one call of a network.", lower_bound=1, flag_values=values)
    flags.DEFINE_enum(
        "case_images",
        "shown",
        ("shown", "all", "none"),
        "Images to leave for the report: a slice of each patient and the volumes of the ten worst and five best, the "
        "volumes of all, or none. 8-bit, on the network's grid; 1 to 2 MB a patient of 100 x 128 x 128 voxels.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "allow_other_data",
        False,
        "Score on data of another hash than the run was trained on, e.g. another split of the same patients.",
        flag_values=values,
    )
    flags.DEFINE_float(
        "require_margin",
        None,
        "Fail, after writing everything, unless each network's mean DSC exceeds both blind rows by this much.",
        lower_bound=0.0,
        flag_values=values,
    )
    flags.DEFINE_list(
        "compare", [], "Evaluated runs (folders, or their metrics.json) to print in one table.", flag_values=values
    )
    flags.DEFINE_list("names", [], "Names of the compared runs; their folders' if not given.", flag_values=values)
    flags.DEFINE_boolean(
        "relearning",
        False,
        "Report how the run's students learned from a teacher's labels, into RUN/evaluation/relearning.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "similarity",
        False,
        "Compare the networks' maps of unlabelled training slices, pair by pair, into RUN/evaluation/similarity; also "
        "while the run is training.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "choose_postprocessing",
        False,
        "Try post-processing of the masks on the validation patients and keep what gains in RUN/postprocessing.json; "
        "evaluation, export and prediction then apply it.",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "write_labels",
        False,
        "Write the soft labels of the unlabelled patients from which the run's students learned, as NIfTI files, into "
        "RUN/evaluation/labels.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "truth",
        None,
        "With --relearning: converted data of the same patients, in which those are labelled that are not in the "
        "run's; its labels are measured against them.",
        flag_values=values,
    )
