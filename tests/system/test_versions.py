"""Versions kept beside results."""

import sys
import types

import numpy

import semicml_tf
from semicml_tf.system.versions import versions


def test_versions_of_libraries_by_the_name_of_the_distribution_or_of_the_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "another_name", types.SimpleNamespace(__version__="7"))
    assert versions("numpy", "another_name", "not-there") == {
        "semicml_tf": semicml_tf.__version__,
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "another_name": "7",
        "not-there": None,
    }
