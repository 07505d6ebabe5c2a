"""Trainings that take seconds: shallow networks, and what takes long to build is built once for all runs of a process.

As a program, trains shallow networks: ``python -m tests.support.quick_runs FLAGS``.
"""

import contextlib
import dataclasses
import functools

import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.networks import catalogue as networks
from semicml_tf.training.monitoring import curves
from semicml_tf.training.stages import Stages


@contextlib.contextmanager
def shallow(levels: int = 1):
    """Runs train U-Nets of so few levels. The depth changes nothing but the time that a graph takes to build."""
    usual = networks.NETWORKS["unet"]
    networks.NETWORKS["unet"] = dataclasses.replace(usual, levels=levels)
    try:
        yield
    finally:
        networks.NETWORKS["unet"] = usual


def _key(stages: Stages, *more) -> str:
    held = (stages._info.root, stages._train, stages._method, id(stages._strategy), stages._jit_compile, *more)
    return repr(held)


@contextlib.contextmanager
def built_once():
    """Gives a run the networks, the compiled step and the input's graph of an earlier run with the same settings.

    All variables that were made with the networks, and the method's state, are reset to their first values. A run still
    finds nothing of the earlier one but what it reads from a checkpoint. All runs get one picture of their curves.
    """
    build, step, batches, draw = Stages.build, Stages.step, Stages.batches, curves.draw
    methods, steps, inputs = {}, {}, {}

    def built(self, number, scores):
        key = _key(self, number, self.plan(number), sorted(scores.items()))
        if key not in methods:
            variables = []

            def recorded(make, **how):
                variables.append(make(**how))
                return variables[-1]

            with tf.variable_creator_scope(recorded):
                method = build(self, number, scores)
            methods[key] = method, method.state(), [(variable, variable.numpy()) for variable in variables]
        method, state, values = methods[key]
        for variable, value in values:
            variable.assign(value)
        method.restore_state(state)
        return method

    def compiled(self, number, method):
        if id(method) not in steps:
            steps[id(method)] = step(self, number, method)
        return steps[id(method)]

    def read(self, number, first):
        key = _key(self, number, first)
        if key not in inputs:
            inputs[key] = batches(self, number, first)
        return inputs[key]

    Stages.build, Stages.step, Stages.batches = built, compiled, read
    drawn = functools.cache(lambda: draw([{"epoch": 0, "stage": "supervised", "step": 1, "loss": 1.0}]))
    curves.draw = lambda rows: drawn()
    try:
        yield
    finally:
        Stages.build, Stages.step, Stages.batches, curves.draw = build, step, batches, draw


if __name__ == "__main__":
    with shallow():
        commandline.run("semicml_tf.train")
