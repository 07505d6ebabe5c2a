"""What both trainers do: train in a folder that outlives a kill, and hand the finished run over."""

import json
import pathlib

from pipelines import study_flags, work_folder
from semicml_tf import commandline
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import Run


def train(
    step: str,
    dataset: pathlib.Path,
    output: pathlib.Path,
    flags: str,
    work_root: str,
    model,
    initial: pathlib.Path | None = None,
) -> Run:
    """Trains, or goes on with what was cut off, and copies the run to `output`.

    Args:
        step: the component's name.
        dataset: folder of the converted data.
        flags: of `semicml_tf.train`.
        work_root: folder of unfinished work.
        model: the artefact, which is told what it holds.
        initial: folder of the run to begin with.

    Returns:
        The run in `output`.

    Raises:
        UserError: as the command.
    """
    data_hash = DatasetInfo.load(dataset).data_hash
    began_with = Run.load(initial).run_hash if initial else ""
    work = work_folder.of(work_root, step, data_hash, flags, began_with)
    arguments = [*study_flags.split(flags), f"--dataset={dataset}", f"--output={work}", "--resume"]
    commandline.call("semicml_tf.train", [*arguments, *([f"--init_from={initial}"] if initial else [])])
    work_folder.hand_over(work, output)
    run = Run.load(output)
    model.set_string_custom_property("run_hash", run.run_hash)
    model.set_string_custom_property("data_hash", run.data_hash)
    model.set_string_custom_property("initial_run_hash", began_with)
    best = {name: entry["dice"] for name, entry in run.best.items()}
    model.set_string_custom_property("validation_dice", json.dumps(best))
    return run
