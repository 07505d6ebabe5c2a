"""Trains and scores a grid of runs (rows x modality pairs x labelled patients x seeds), and makes its tables.

    python -m semicml_tf.experiment --flagfile=configs/experiments/phantom.flags --output=OUT
    python -m semicml_tf.experiment --flagfile=configs/experiments/sts.flags --input=DATA --output=OUT

The flagfile holds the study's flags, too: those of phantom, convert, train and evaluate, which are called with it. Each
seed draws its own labelled patients; all rows of a seed, and fewer and more labelled ones, share that draw, and all
cells share the validation and test patients. Finished runs are not run again: killed, an experiment goes on with the
same command. OUT gets volumes (of a phantom), splits, datasets, runs, and the tables and figures, which are written
anew with each seed that is finished.
"""

from __future__ import annotations

import collections
import shlex
import sys

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.system import cpu

AFTER_INTERRUPT = "Finished runs are kept: the same command continues."


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    text = {"flag_values": values}
    flags.DEFINE_multi_string(commandline.FLAGFILE, [], "the study's flagfiles, handed to each command", **text)
    flags.DEFINE_string("input", None, "folder of volumes; none: a phantom is made in OUTPUT/volumes", **text)
    flags.DEFINE_string("output", None, "folder for everything that is made", **text)
    flags.DEFINE_string("tables", None, "folder of tables and figures; none: OUTPUT", **text)
    flags.DEFINE_multi_string(
        "row",
        [],
        "NAME: FLAGS, a row of the table and the flags of semicml_tf.train that it adds to the study's. --pairs, "
        "--labelled_patients and --seeds in it go before the experiment's",
        **text,
    )
    flags.DEFINE_list("pairs", [], "pairs of modalities, e.g. ct:pet,ct:mr; none: the study's --modalities", **text)
    flags.DEFINE_list("labelled_patients", ["4"], "numbers of labelled patients, e.g. 2,4,8,all", **text)
    flags.DEFINE_list("seeds", ["0", "1", "2", "3", "4"], "of the draw of labelled patients, and of the run", **text)
    flags.DEFINE_string("reference", None, "row that the others are compared with; none: the first", **text)
    flags.DEFINE_string(
        "baseline", None, "row that learns from labelled patients alone, from which the labels saved are told", **text
    )
    flags.DEFINE_string(
        "base_split",
        None,
        "JSON file of the study's split; who validates and is tested on in it does so in all cells, and the others are "
        "the pool of whom some are labelled; none: the study's --split, else split.json in the input folder",
        **text,
    )
    flags.DEFINE_enum(
        "partition", "test", ["validation", "test"], "whose scores are told; validation: to choose settings", **text
    )
    flags.DEFINE_integer(
        "workers", 0, "processes at a time, which share the cores; 0: one a core", lower_bound=0, **text
    )
    flags.DEFINE_boolean("dry_run", False, "tell what there is to do and what is done; do nothing", **text)
    flags.DEFINE_boolean("tables_only", False, "make the tables of the runs that are finished; run nothing", **text)


def main(values: flags.FlagValues) -> None:
    """Runs the command."""
    if not values.output:
        raise UserError("expected --output, got none", remedy="See --help")
    if not values[commandline.FLAGFILE].value:
        raise UserError("expected --flagfile of the study, got none", remedy="See --help")
    from semicml_tf.experiments import lock, plan, runs

    planned = plan.make(values)
    if not (values.dry_run or values.tables_only):
        with lock.held(planned.output) as inherited:
            _run(values, planned, inherited)
        return
    planned, stale = runs.with_stale_cells(planned)
    if values.dry_run:
        print(planned.text())
    elif not _publish(values, planned):
        raise UserError("no run is finished yet", path=planned.output, remedy="Leave --tables_only out")
    for text in stale:
        print(f"not used: {text}")


def _run(values: flags.FlagValues, planned, inherited: int) -> None:
    from tqdm import tqdm

    from semicml_tf.experiments import plan, runs, workers

    plan.write_splits(planned)
    count = values.workers or cpu.available()
    planned, stale = runs.with_stale_cells(planned)
    jobs = runs.jobs_of(planned, workers.threads_each(count))
    cell_of = {job.name: cell for job, cell in jobs if cell is not None}
    left = collections.Counter(cell.seed for cell in cell_of.values())
    before, not_begun = sum(cell.finished for cell in planned.cells), 0
    failures: list[str] = []
    with (
        workers.Workers(count, inherited) as pool,
        tqdm(
            total=len(planned.cells), initial=before, desc="runs", unit="run", dynamic_ncols=True, disable=not jobs
        ) as bar,
    ):

        def failed(what: str) -> None:
            failures.append(what)
            bar.write(what, file=sys.stderr)
            bar.set_postfix_str(f"{len(failures)} failed")

        def publish() -> None:
            try:
                _publish(values, planned)
            except UserError as error:  # the runs are worth more than a table of some of them
                failed(f"tables: {error.line}")

        for text in stale:
            failed(text)
        for outcome in pool.run([job for job, _ in jobs]):
            if outcome.failure and outcome.begun:
                failed(f"{outcome.job.name}: {outcome.failure}")
            not_begun += not outcome.begun
            cell = cell_of.get(outcome.job.name)
            if cell is None:
                continue
            bar.update(not outcome.failure)
            left[cell.seed] -= 1
            if not left[cell.seed] and any(left.values()):
                publish()
        publish()
    finished = sum(cell.finished for cell in planned.cells)
    print(f"{planned.output}: {finished} of {len(planned.cells)} runs finished")
    if failures:
        more = f"; and {len(failures) - 1} more, which stand above" if len(failures) > 1 else ""
        more += f"; {not_begun} steps not begun for it" if not_begun else ""
        raise UserError(f"{failures[0]}{more}", remedy="Mend it and start the same command again")


def _publish(values: flags.FlagValues, planned) -> bool:
    """Writes the tables of what is finished; whether anything is."""
    from semicml_tf.experiments import publish

    if not any(cell.finished for cell in planned.cells):
        return False
    publish.publish(
        planned.cells,
        values.tables or planned.output,
        reference=planned.reference,
        baseline=planned.baseline,
        command=_command(values),
        hashes=planned.hashes(),
    )
    return True


def _command(values: flags.FlagValues) -> str:
    """The call that makes the same experiment: its flagfiles, and what was said beside them."""
    files = [f"--flagfile={path}" for path in values.flagfile]
    of_files, _ = commandline.parse("semicml_tf.experiment", files)
    words = ["python", "-m", "semicml_tf.experiment", *files]
    for name, value in values.flag_values_dict().items():
        held = of_files[name].value
        if name in (commandline.FLAGFILE, "workers", "dry_run", "tables_only") or value == held:
            continue
        if name == "row":  # they are added to those of the files
            words += [f"--row={text}" for text in value if text not in held]
        else:
            words.append(f"--{name}={','.join(value) if isinstance(value, list) else value}")
    return shlex.join(words)


if __name__ == "__main__":
    commandline.run("semicml_tf.experiment")
