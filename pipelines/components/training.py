"""Training as a resumable step of a pipeline.

TFX gives a component new folders for each execution, and removes the folders of a failed execution. The training
therefore works in a folder of its own, which later executions find again, and copies the finished run.
"""

import hashlib
import json
import os
import pathlib
import shutil

from pipelines import study_flags
from semicml_tf import commandline
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run
from semicml_tf.system.atomic_files import unwritable


def train(
    step: str,
    dataset: pathlib.Path,
    output: pathlib.Path,
    flags: str,
    work_root: str,
    model,
    initial: pathlib.Path | None = None,
) -> Run:
    """Trains, or resumes an interrupted training, and copies the run to `output`.

    Args:
        step: the component's name.
        dataset: folder of the converted data.
        flags: of `semicml_tf.train`.
        work_root: folder of unfinished work.
        model: the artefact, which gets the hashes and the validation DSC as properties.
        initial: folder of the run whose networks the training starts from.

    Returns:
        The run in `output`.

    Raises:
        UserError: as `semicml_tf.train`.
    """
    data_hash = DatasetInfo.load(dataset).data_hash
    initial_hash = Run.load(initial).run_hash if initial else ""
    work = work_folder(work_root, step, data_hash, flags, initial_hash)
    arguments = [*study_flags.split(flags), f"--dataset={dataset}", f"--output={work}", "--resume"]
    commandline.call("semicml_tf.train", [*arguments, *([f"--init_from={initial}"] if initial else [])])
    hand_over(work, output)
    run = Run.load(output)
    model.set_string_custom_property("run_hash", run.run_hash)
    model.set_string_custom_property("data_hash", run.data_hash)
    model.set_string_custom_property("initial_run_hash", initial_hash)
    best = {name: entry["dice"] for name, entry in run.best.items()}
    model.set_string_custom_property("validation_dice", json.dumps(best))
    return run


def work_folder(root: str | os.PathLike, step: str, *inputs: str) -> pathlib.Path:
    """The folder of a step's unfinished work, named by a hash of the step and its inputs.

    Args:
        root: folder of all unfinished work.
        step: name of the component.
        inputs: everything that the result depends on, e.g. hashes and settings.
    """
    text = "\n".join([step, *inputs])
    return pathlib.Path(root) / f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def hand_over(finished: pathlib.Path, target: pathlib.Path) -> None:
    """Copies finished work to the empty folder `target`, by hard links within one file system.

    The original stays, in case the process is killed before TFX registers the step as complete.

    Raises:
        UserError: `target` cannot be written to.
    """
    try:
        shutil.copytree(finished, target, copy_function=_link, dirs_exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
