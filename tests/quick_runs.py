"""Trainings that take seconds: shallow networks, and the graph of a step built once for all runs of a process.

As a program, trains shallow networks: ``python -m tests.quick_runs FLAGS``.
"""

import contextlib

import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.networks.unet import unet
from semicml_tf.training.stages import Stages


@pytest.fixture(scope="module")
def quick_runs():
    """Trainings of this process take seconds: see `shallow` and `compiled_once`."""
    with shallow(), compiled_once():
        yield


@contextlib.contextmanager
def shallow(levels: int = 1):
    """Runs train U-Nets of so few levels. The depth changes nothing but the time that a graph takes to build."""
    usual = unet.__kwdefaults__["levels"]
    unet.__kwdefaults__["levels"] = levels
    try:
        yield
    finally:
        unet.__kwdefaults__["levels"] = usual


@contextlib.contextmanager
def compiled_once():
    """Gives a run the networks and the compiled step of an earlier run with the same settings.

    All variables that were made with them, and the method's state, are reset to their first values. A run still finds
    nothing of the earlier one but what it reads from a checkpoint.
    """
    build, step, known, steps = Stages.build, Stages.step, {}, {}

    def built_once(self, number, scores):
        key = repr((number, self._train, self._method, self.plan(number), sorted(scores.items()), id(self._strategy)))
        if key not in known:
            variables = []

            def recorded(make, **how):
                variables.append(make(**how))
                return variables[-1]

            with tf.variable_creator_scope(recorded):
                method = build(self, number, scores)
            known[key] = method, method.state(), [(variable, variable.numpy()) for variable in variables]
        method, state, values = known[key]
        for variable, value in values:
            variable.assign(value)
        method.restore_state(state)
        return method

    def compiled(self, number, method):
        if id(method) not in steps:
            steps[id(method)] = step(self, number, method)
        return steps[id(method)]

    Stages.build, Stages.step = built_once, compiled
    try:
        yield
    finally:
        Stages.build, Stages.step = build, step


if __name__ == "__main__":
    with shallow():
        commandline.run("semicml_tf.train")
