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

import shlex
import sys

from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError


def define_flags(values: flags.FlagValues) -> None:
    """Defines the command's flags on `values`."""
    text = {"flag_values": values}
    flags.DEFINE_multi_string(commandline.FLAGFILE, [], "the study's flagfiles, handed to each command", **text)
    flags.DEFINE_string("input", None, "folder of volumes; none: a phantom is made in OUTPUT/volumes", **text)
    flags.DEFINE_string("output", None, "folder for everything that is made", **text)
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
        "base_split",
        None,
        "JSON file of the study's split; who validates and is tested on in it does so in all cells, and the others are "
        "the pool of whom some are labelled; none: the study's --split, else split.json in the input folder",
        **text,
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
    if values.dry_run:
        print(planned.text())
        for cell, why in runs.others(planned).items():
            print(f"not to be used: {runs.cell_name(cell)}: {why}")
    elif values.tables_only:
        stale = runs.others(planned)
        if not _publish(values, planned, stale):
            raise UserError("no run is finished yet", path=planned.output, remedy="Leave --tables_only out")
    else:
        with lock.held(planned.output) as inherited:
            _run(values, planned, inherited)


def _run(values: flags.FlagValues, planned, inherited: int) -> None:
    from tqdm import tqdm

    from semicml_tf.experiments import plan, runs, workers

    plan.write_splits(planned)
    count = values.workers or workers.cores()
    stale = runs.others(planned)
    jobs = runs.jobs_of(planned, workers.threads_each(count), without=stale)
    failures = [f"{runs.cell_name(cell)}: {why}" for cell, why in stale.items()]
    cell_of = {job.name: cell for job, cell in jobs if cell is not None}
    left = {seed: sum(cell.seed == seed for cell in cell_of.values()) for seed in {c.seed for c in planned.cells}}
    before = sum(cell.finished for cell in planned.cells if cell not in stale)
    total, not_begun = len(planned.cells) - len(stale), 0
    with (
        workers.Workers(count, inherited) as pool,
        tqdm(total=total, initial=before, desc="runs", unit="run", dynamic_ncols=True) as bar,
    ):
        for failure in failures:
            bar.write(failure, file=sys.stderr)
        for outcome in pool.run([job for job, _ in jobs]):
            cell = cell_of.get(outcome.job.name)
            if outcome.failure and outcome.begun:
                failures.append(f"{outcome.job.name}: {outcome.failure}")
                bar.write(failures[-1], file=sys.stderr)
            not_begun += not outcome.begun
            bar.set_postfix_str(f"{len(failures)} failed" if failures else "", refresh=True)
            if cell is None:
                continue
            if not outcome.failure:
                bar.update()
            left[cell.seed] -= 1
            if left[cell.seed] == 0 and any(left.values()):
                _publish(values, planned, stale)
    published = _publish(values, planned, stale)
    finished = sum(cell.finished for cell in planned.cells if cell not in stale)
    print(f"{planned.output}: {finished} of {len(planned.cells)} runs finished{'' if published else '; no table yet'}")
    if failures:
        more = f" (and {len(failures) - 1} more, see above)" if len(failures) > 1 else ""
        more += f"; {not_begun} not begun for it" if not_begun else ""
        raise UserError(f"{failures[0]}{more}", remedy="Mend it and start the same command again")


def _publish(values: flags.FlagValues, planned, stale) -> bool:
    """Writes the tables of what is finished; whether anything is."""
    from semicml_tf.experiments import publish

    cells = [cell for cell in planned.cells if cell.finished and cell not in stale]
    if cells:
        publish.publish(
            cells, planned.output, reference=planned.reference, command=_command(values), hashes=planned.hashes()
        )
    return bool(cells)


def _command(values: flags.FlagValues) -> str:
    places = [f"--{name}={values[name].value}" for name in ("input", "output", "base_split") if values[name].value]
    words = ["python", "-m", "semicml_tf.experiment", *(f"--flagfile={path}" for path in values.flagfile), *places]
    return shlex.join(words)


if __name__ == "__main__":
    commandline.run("semicml_tf.experiment")
