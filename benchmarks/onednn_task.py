"""The tasks of `benchmarks.onednn`: repeats a task as often as each line of its input requests, and prints the seconds.

    python -m benchmarks.onednn_task inference|serving|evaluation FOLDER

`benchmarks.onednn` prepares FOLDER: `models` with a published network, `run` with a trained run.
"""

from __future__ import annotations

import contextlib
import io
import pathlib
import sys
import time

from benchmarks import serving_setup
from benchmarks.on_request import repeat_on_request
from semicml_tf import commandline
from semicml_tf.system import quiet_import


def main(task: str, folder: pathlib.Path) -> None:
    """Prepares the task, runs it once, prints a line, and then runs it on request."""
    quiet_import.tensorflow()
    with contextlib.ExitStack() as stack:
        repeat = {"inference": _inference, "serving": _serving, "evaluation": _evaluation}[task](folder, stack)
        repeat()
        repeat_on_request({"task": task}, repeat)


def _inference(folder: pathlib.Path, stack: contextlib.ExitStack):
    import semicml_tf

    model = semicml_tf.load(folder / "models" / serving_setup.CUBE.model)
    volume = serving_setup.volume(serving_setup.CUBE)
    return lambda: model.probabilities(*volume)


def _serving(folder: pathlib.Path, stack: contextlib.ExitStack):
    from semicml_tf.serving.client.remote_model import RemoteModel

    # The server inherits this process's environment, which includes the choice of kernels.
    log = folder / f"server-{time.monotonic_ns()}.log"
    _, address = stack.enter_context(serving_setup.serving(folder / "models", log=log))
    model = stack.enter_context(RemoteModel(address, serving_setup.CUBE.model))
    volume = serving_setup.volume(serving_setup.CUBE)
    return lambda: model.probabilities(*volume)


def _evaluation(folder: pathlib.Path, stack: contextlib.ExitStack):
    output = folder / f"evaluation-{time.monotonic_ns()}"

    def repeat():
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            commandline.call("semicml_tf.evaluate", [str(folder / "run"), f"--output={output}"])

    return repeat


if __name__ == "__main__":
    main(sys.argv[1], pathlib.Path(sys.argv[2]))
