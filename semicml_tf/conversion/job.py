"""Converts images on disk into a dataset for training."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

from semicml_tf.conversion import source as sources
from semicml_tf.conversion.config import ConvertConfig
from semicml_tf.conversion.conversion import Conversion, ConvertResult
from semicml_tf.conversion.execution import runner as runners
from semicml_tf.conversion.execution.output import Target
from semicml_tf.errors import UserError
from semicml_tf.system import cpu


def convert(config: ConvertConfig, report: Callable[[str], None] = print) -> ConvertResult:
    """Verifies and converts the cases of ``config.input``.

    Args:
        config: the options.
        report: prints a line: what was found, which split was chosen, what is wrong.

    Raises:
        UserError: a mistake in the input or in the options. Finished cases are kept, and the same call continues.
    """
    source, target = pathlib.Path(config.input), Target.parse(config.output, overwrite=config.overwrite)
    if not config.verify_only:
        target.check(source)
    layout = sources.layout(config)
    privacy = sources.privacy(config, layout, target)
    if not config.modalities:
        with privacy.errors():  # the description of the input names its files
            raise UserError(
                "expected --modalities, which is missing",
                path=source,
                remedy=f"Name two of what is there: {layout.describe(source, config.layout_options())}",
            )
    settings = config.settings()
    if len(settings.modalities) != 2:
        report(f"warning: training takes two modalities, got --modalities={','.join(settings.modalities)}")
    runner = runners.choose(config.runner, workers=config.workers or cpu.available(), beam_flags=config.beam_flag)
    return Conversion(config, source, target, layout, settings, runner, privacy, report).run()
