"""The input of a conversion: its layout, and whether its names may be printed."""

from __future__ import annotations

import pathlib

from semicml_tf.conversion.config import ConvertConfig
from semicml_tf.conversion.execution.output import Target
from semicml_tf.conversion.privacy import pseudonyms
from semicml_tf.conversion.privacy.names import Hidden, Open
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import catalogue, deliveries


def layout(config: ConvertConfig):
    """The input's layout; see `files.layouts.catalogue.choose`.

    Raises:
        UserError: the input has no known layout.
    """
    source = pathlib.Path(config.input)
    if deliveries.is_there(source):
        return deliveries.choose(source, config.layout, span=config.span, replace=config.repeated_cases == "replace")
    if config.span is not None:
        raise UserError(
            "--span is for a folder of deliveries, span-1, span-2, ..., and there is none",
            path=source,
            remedy="Pass the folder that they lie in",
        )
    return catalogue.choose(config.layout, source)


def hides_names(config: ConvertConfig, of_input) -> bool:
    """Whether cases get pseudonyms: on request, and always if the layout's files contain names of patients.

    Args:
        config: options of the conversion.
        of_input: the input's layout.
    """
    holds_names = getattr(of_input, "holds_patient_names", None)
    return config.pseudonymize or bool(holds_names and holds_names(pathlib.Path(config.input)))


def privacy(config: ConvertConfig, of_input, target: Target) -> Open | Hidden:
    """Which names and paths may be printed."""
    if not hides_names(config, of_input):
        return Open()
    keep = config.pseudonym_map or pseudonyms.default_map(config.output)
    return Hidden(pathlib.Path(config.input), keep, dataset=target.local)
