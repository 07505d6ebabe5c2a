"""Converts images on disk into a dataset for training."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

from semicml_tf.conversion import source as sources
from semicml_tf.conversion.config import LOCAL_RUNNER, ConvertConfig
from semicml_tf.conversion.conversion import Conversion, ConvertResult
from semicml_tf.conversion.execution.beam_runner import BeamRunner
from semicml_tf.conversion.execution.local_runner import LocalRunner
from semicml_tf.conversion.execution.output import Target
from semicml_tf.errors import UserError
from semicml_tf.system import cpu


def convert(config: ConvertConfig, report: Callable[[str], None] = print) -> ConvertResult:
    """Verifies and converts the cases of ``config.input``.

    Args:
        config: the options.
        report: prints a line about the progress: the cases, the split, the findings.

    Raises:
        UserError: the input or an option is wrong. Finished cases are kept, and the same call resumes.
    """
    source, target = pathlib.Path(config.input), Target.parse(config.output, overwrite=config.overwrite)
    if not config.verify_only:
        target.check(source)
    layout = sources.layout(config)
    privacy = sources.privacy(config, layout, target)
    if not config.modalities:
        with privacy.errors():  # the remedy may contain names of files
            raise UserError(
                "expected --modalities, which is missing",
                path=source,
                remedy=f"Name those to train on: {layout.describe(source, config.layout_options())}",
            )
    settings = config.settings()
    if len(settings.modalities) == 1:
        report(f"warning: one modality, {settings.modalities[0]}: the default methods of training need at least two")
    runner = runner_of(config.runner, workers=config.workers or cpu.available(), beam_flags=config.beam_flag)
    return Conversion(config, source, target, layout, settings, runner, privacy, report).run()


def runner_of(name: str, *, workers: int, beam_flags: Sequence[str] = ()) -> LocalRunner | BeamRunner:
    """The runner of the work on cases: local processes, or Apache Beam.

    Args:
        name: ``local``, or a runner of Beam, e.g. ``FlinkRunner``.
        workers: number of local processes. Beam's runners have their own flags for this.
        beam_flags: flags that are passed to Beam unchanged.

    Raises:
        UserError: flags of Beam are given for the local runner.
    """
    if name != LOCAL_RUNNER:
        return BeamRunner(name, tuple(beam_flags))
    if beam_flags:
        raise UserError(
            f"expected --runner=NAME of an Apache Beam runner with --beam_flag={beam_flags[0]}, got --runner={name}",
            remedy="Name the runner, e.g. --runner=FlinkRunner, or leave out --beam_flag",
        )
    return LocalRunner(workers)
