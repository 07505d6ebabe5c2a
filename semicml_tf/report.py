"""One HTML page of one or several runs: scores, plots, patients worst first, and a viewer of their volumes.

  python -m semicml_tf.report runs/demo                        writes runs/demo/report.html
  python -m semicml_tf.report runs/a runs/b --output=both.html
  python -m semicml_tf.report runs/demo --noimages             a page without any image of a patient

The page is one file: it opens from disk, loads nothing from the network, and has at most 50 MB. It tells what the
runs' folders hold: score them first with python -m semicml_tf.evaluate --run=RUN, which also leaves the images that the
page shows. The report on re-learning (evaluate --relearning) is told, too, where it is there. With runs that differ in
their number of labelled patients, the page has an annotation-cost curve.

Images of patients in the page are 8-bit and on the network's grid. Whoever gets the page gets them.
"""

from __future__ import annotations

import pathlib
import shlex
import sys

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import atomic_files, locks

POSITIONAL = ("run",)
# As many runs as are named.
POSITIONAL_REPEATS = True
AFTER_INTERRUPT = "Nothing was written: start the same command again."
FILE_NAME = "report.html"
_PARTITIONS = ("labelled", "validation", "test")


def define_flags(values: flags.FlagValues) -> None:
    """The command's flags."""
    flags.DEFINE_multi_string("run", [], "A run's folder.", flag_values=values)
    flags.DEFINE_enum("partition", "test", _PARTITIONS, "Whose scores to tell.", flag_values=values)
    flags.DEFINE_string(
        "output", None, "The page; report.html in the (first) run's folder if not given.", flag_values=values
    )
    flags.DEFINE_boolean(
        "images", True, "Put images of patients into the page: slices, and volumes for the viewer.", flag_values=values
    )


def _command(values: flags.FlagValues) -> str:
    words = ["python", "-m", "semicml_tf.report", *values.run]
    words += [f"--partition={values.partition}"] if values.partition != "test" else []
    words += [f"--output={values.output}"] if values.output else []
    return shlex.join([*words, *([] if values.images else ["--noimages"])])


def main(values: flags.FlagValues) -> None:
    """Writes the page."""
    from semicml_tf.reporting import page, run_facts

    if not values.run:
        raise UserError("no run given", remedy="Pass the folder of a run: python -m semicml_tf.report RUN")
    output = pathlib.Path(values.output or pathlib.Path(values.run[0]) / FILE_NAME)
    if output.is_dir():
        raise UserError(
            "expected a file, got a folder", path=output, remedy="Choose another --output, e.g. report.html"
        )
    runs = run_facts.load_all(values.run, values.partition)
    for run in runs:
        for note in run.notes:
            print(f"{run.folder}: {note}", file=sys.stderr)
    with locks.writing(output):
        made = page.build(runs, command=_command(values), images=values.images)
        atomic_files.write_file(output, lambda stream: stream.write(made))
    print(f"report: {output} ({len(made) / 1e6:.1f} MB)")
    if b"<img " in made:
        print("It holds images of patients: hand it on as you would these.")


if __name__ == "__main__":
    commandline.run("semicml_tf.report")
