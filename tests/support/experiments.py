"""Experiments in small, as the tests of the runner need them."""

from semicml_tf import commandline
from semicml_tf.experiments import plan

STUDY = (
    "--cases=8",
    "--labelled=1",
    "--validation=1",
    "--test=2",
    "--empty_fraction=0",
    "--phantom_size_mm=128,128,48",
    "--phantom_spacing_mm=4,4,6",
    "--layout=hecktor",
    "--modalities=ct,pet",
    "--spacing_mm=6,6,6",
    "--window=32",
    "--width=2",
    "--epochs=1,1",
    "--steps_per_epoch=3",
    "--labelled_batch=4",
    "--unlabelled_batch=4",
    "--labelled_patients=2",
    "--seeds=0",
)
ROWS = ("--row=ours: --method=semi_cml,prel", "--row=plain: --method=supervised")


def flagfile(folder, *lines):
    """Writes an experiment's flagfile: the study in small, and then `lines`."""
    path = folder / "experiment.flags"
    path.write_text("\n".join([*STUDY, *lines]) + "\n")
    return path


def planned(folder, *lines, arguments=()):
    """The plan of such an experiment, in ``folder/out``."""
    words = [f"--flagfile={flagfile(folder, *lines)}", f"--output={folder / 'out'}", *arguments]
    return plan.make(commandline.config("semicml_tf.experiment", words))
