"""What a method declares before Keras is imported: a help line, its knobs, and what it needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from typing_extensions import dataclass_transform

from semicml_tf.configuration import Problem, option
from semicml_tf.networks.catalogue import Entry

# `catalogue.MethodSettings`, which cannot be imported here.
Settings = Any


@dataclasses.dataclass(frozen=True)
class Declaration:
    """``METHOD`` of a method's file, which also has ``stage_class()``: the method as a subclass of `base.Method`.

    Attributes:
        help: one line.
        knobs: classes of the options that the method reads beside those that all methods read.
        least_modalities: number of modalities that the method needs. Methods with mutual terms need two.
        needs_unlabelled: whether a step needs unlabelled slices.
        needs_average: whether, with these settings, the method learns from the students' moving averages.
        needs_scores: whether, with these settings, the method begins with a choice by validation scores.
        needs_dropout: whether, with these settings, the method learns from networks with dropout.
        needs_features: the network's features that the method reads, ``encoder`` or ``decoder``; "" for none.
        contradictions: yields problems of knobs that are valid alone, but not together.
    """

    help: str
    knobs: tuple[type, ...] = ()
    least_modalities: int = 1
    needs_unlabelled: bool = True
    needs_average: Callable[[Settings], bool] = lambda settings: False
    needs_scores: Callable[[Settings], bool] = lambda settings: False
    needs_dropout: Callable[[Settings], bool] = lambda settings: False
    needs_features: str = ""
    contradictions: Callable[[Settings], Iterable[Problem]] = lambda settings: ()

    def lacking(self, network: Entry, settings: Settings) -> str:
        """The requirement of the method that the network does not fulfil, for a message; "" for none."""
        if self.needs_features and self.needs_features not in network.features:
            return f"{self.needs_features} features"
        return "dropout" if self.needs_dropout(settings) and not network.dropout else ""


@dataclass_transform(field_specifiers=(option,), frozen_default=True)
def knobs(title: str) -> Callable[[type], type]:
    """Makes a class of options a dataclass. `title` is a part of the heading in the help."""

    def decorate(knobs_class: type) -> type:
        knobs_class.title = title
        return dataclasses.dataclass(frozen=True)(knobs_class)

    return decorate
