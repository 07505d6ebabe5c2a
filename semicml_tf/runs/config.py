"""What `semicml_tf.train` is asked to do: where, with which settings, by which methods."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from semicml_tf.configuration import check, option
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.runs import initialisation, settings
from semicml_tf.runs.recipes import RECIPES
from semicml_tf.runs.settings import DATA, FIRST, TrainSettings
from semicml_tf.storage.access import DatasetAccess

MACHINE = "Flags of the machine and the folders"


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a run trains, and from what; none of this changes its results beyond rounding."""

    dataset: str = option(help="Folder or URL of a dataset made by semicml_tf.convert.", path=True, group=FIRST)
    output: str | None = option(None, "Folder of the run. Only a dry run works without.", path=True, group=FIRST)
    devices: tuple[str, ...] = option(
        (), "Devices, for example gpu:0,gpu:1. The default is all GPUs, or one CPU without a GPU.", group=FIRST
    )
    resume: bool = option(False, "Resume a run that was stopped or killed, or begin it.", group=FIRST)
    dry_run: bool = option(
        False,
        "Print data, networks, steps and memory, take two steps of each stage, and write nothing.",
        group=FIRST,
    )
    init_from: str | None = option(
        None,
        "Run whose best networks are the initial ones. Its data may differ if none of its training patients is "
        "validated or tested on now.",
        path=True,
        group=MACHINE,
    )
    init_encoder_from: tuple[str, ...] = option(
        (),
        "Run whose encoders are the initial ones, while decoders begin at random. Its classes may differ. "
        "MODALITY=RUN:MODALITY names the encoder of a modality by run and modality.",
        path=True,
        repeated=True,
        group=MACHINE,
    )
    worker_wait_minutes: float = option(
        30.0, "Minutes that workers wait for each other.", above=0.0, high=10080.0, group=MACHINE
    )
    deterministic: bool = option(False, "Make repetitions bit-equal, at some cost in speed.", group=MACHINE)
    jit_compile: bool = option(False, "Compile the step by XLA, on one device only.", group=MACHINE)
    picture_every: int = option(5, "Epochs between two pictures of validation slices.", low=0, group=MACHINE)
    recipe: str = option(
        "default", "Set of values for the training flags that are not given.", choices=tuple(RECIPES), group=DATA
    )


def _with_recipe(config_class: type) -> type:
    """Makes the values of the chosen recipe the defaults of the options that are not given."""
    usual = config_class.__init__

    @functools.wraps(usual)
    def init(self, *, recipe: str = "default", **given):
        usual(self, recipe=recipe, **RECIPES.get(recipe, {}) | given)

    config_class.__init__ = init
    return config_class


@_with_recipe
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig(MethodSettings, TrainSettings, DatasetAccess, _Place):
    """A training: its place, the run's settings and the methods' knobs, each an option with its help.

    ``TrainConfig(dataset=..., output=..., recipe="paper", epochs=(3, 6))`` has the recipe's values and the options
    that are given. A single method gets the sum of all epochs: a baseline then has the budget of several stages.

    Raises:
        UserError: an option is missing or wrong, or options contradict each other; the message names all of them.
    """

    def __post_init__(self):
        check(self, self._further())

    def _further(self):
        if not self.output and not self.dry_run:
            yield "expected --output, which is missing", "See --help"
        if len(self.method) == 1 and min(self.epochs, default=0) > 0:
            object.__setattr__(self, "epochs", (sum(self.epochs),))  # the dataclass is frozen
        yield from initialisation.problems(self.init_from, self.init_encoder_from, self.network)
        yield from settings.contradictions(self.run_settings, self.method_settings)

    @property
    def run_settings(self) -> TrainSettings:
        """The settings of the run."""
        return self._part(TrainSettings)

    @property
    def method_settings(self) -> MethodSettings:
        """The knobs of the methods."""
        return self._part(MethodSettings)

    def _part(self, kind: type):
        return kind(**{field.name: getattr(self, field.name) for field in dataclasses.fields(kind)})

    def check_modalities(self, modalities: Sequence[str]) -> None:
        """Raises UserError if the settings contradict the dataset's modalities."""
        settings.check_modalities(self.run_settings, self.method_settings, modalities)
