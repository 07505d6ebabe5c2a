"""The settings of a run as flags, and back: what `semicml_tf.train` takes, and an experiment's rows."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from semicml_tf.errors import UserError
from semicml_tf.methods import catalogue
from semicml_tf.methods.baseline_settings import BaselineSettings
from semicml_tf.methods.settings import RECIPES, MethodSettings
from semicml_tf.runs.settings import TrainSettings


def define(values: flags.FlagValues) -> None:
    """Defines ``--recipe`` and a flag for each field of the settings."""
    flags.DEFINE_enum("recipe", "default", list(RECIPES), "what all flags below default to", flag_values=values)
    methods = "\n".join(f"{name}: {entry.help}" for name, entry in catalogue.METHODS.items())
    for field in (*dataclasses.fields(TrainSettings), *dataclasses.fields(MethodSettings)):
        text = field.metadata["help"] + (f"\n{methods}\n" if field.name == "method" else "")
        _define(field, text, values)


def by_topic() -> dict[str, tuple[str, ...]]:
    """The names of the flags that `define` defines, by what they are about."""
    baselines = tuple(field.name for field in dataclasses.fields(BaselineSettings))
    methods = tuple(field.name for field in dataclasses.fields(MethodSettings) if field.name not in baselines)
    optimisation = tuple(name for name in methods if name in ("optimizer", "l2") or name.startswith(("lr_", "learn")))
    return {
        "data, batches and networks": ("recipe", *(field.name for field in dataclasses.fields(TrainSettings))),
        "the optimiser": optimisation,
        "the losses, Semi-CML and PReL": tuple(name for name in methods if name not in optimisation),
        "the other methods": baselines,
    }


def _define(field: dataclasses.Field, text: str, values: flags.FlagValues) -> None:
    default: Any = field.default
    if field.metadata["choices"]:
        flags.DEFINE_enum(field.name, default, field.metadata["choices"], text, flag_values=values)
    elif isinstance(default, bool):
        flags.DEFINE_boolean(field.name, default, text, flag_values=values)
    elif isinstance(default, int):
        flags.DEFINE_integer(field.name, default, text, flag_values=values)
    elif isinstance(default, float):
        flags.DEFINE_float(field.name, default, text, flag_values=values)
    elif isinstance(default, tuple):
        flags.DEFINE_list(field.name, [str(value) for value in default], text, flag_values=values)
    else:
        flags.DEFINE_string(field.name, default, text, flag_values=values)


def settings_from(values: flags.FlagValues) -> tuple[TrainSettings, MethodSettings]:
    """The settings that the flags describe: the recipe's, overruled by flags that were given."""
    recipe = RECIPES[values.recipe]

    def value(field: dataclasses.Field):
        if not values[field.name].present and field.name in recipe:
            return recipe[field.name]
        given = values[field.name].value
        if not isinstance(field.default, tuple):
            return given
        if field.name not in ("epochs", "lr_drop_epochs"):
            return tuple(given)
        try:
            return tuple(int(number) for number in given)
        except ValueError as error:
            raise UserError(
                f"expected whole numbers in --{field.name}, got {','.join(given)}", remedy="See --help"
            ) from error

    train, method = (
        kind(**{field.name: value(field) for field in dataclasses.fields(kind)})
        for kind in (TrainSettings, MethodSettings)
    )
    if len(train.method) == 1 and min(train.epochs, default=0) > 0:
        # So that a baseline of one stage has the budget of a study's several.
        train = dataclasses.replace(train, epochs=(sum(train.epochs),))
    return train, method
