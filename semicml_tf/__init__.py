"""Two segmentation networks, one per modality, trained together with few labels.

Each job has a config class and a function: ``semicml_tf.convert(semicml_tf.ConvertConfig(input=..., output=...))``.
The same job is a command with the same options: ``python -m semicml_tf.convert --input=... --output=...``.
`load` opens an exported model, and `connect` opens a model on a server:
``semicml_tf.load("models/ct").predict(array, affine)``.
"""

import importlib
import os
import sys
import types

__version__ = "0.1.0"

# TensorFlow uses oneDNN's kernels by default only on processors with AVX-512 VNNI. They are faster with AVX2, too.
# TensorFlow reads the variable when it is imported. A value that the user has set stays.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# The module of each public name. It is imported when the name is used: TensorFlow takes seconds to load.
_MODULES = {
    "CompareConfig": "semicml_tf.evaluation.config",
    "ConvertConfig": "semicml_tf.conversion.config",
    "CrossvalidateConfig": "semicml_tf.experiments.config",
    "DiagnoseConfig": "semicml_tf.diagnostics.config",
    "EvaluateConfig": "semicml_tf.evaluation.config",
    "ExperimentConfig": "semicml_tf.experiments.config",
    "ExportConfig": "semicml_tf.exporting.config",
    "InspectConfig": "semicml_tf.records.config",
    "PhantomConfig": "semicml_tf.phantom.config",
    "PredictConfig": "semicml_tf.inference.config",
    "ReportConfig": "semicml_tf.reporting.config",
    "TrainConfig": "semicml_tf.runs.config",
    "choose_postprocessing": "semicml_tf.evaluation.job",
    "compare": "semicml_tf.evaluation.compare_job",
    "connect": "semicml_tf.serving",
    "convert": "semicml_tf.conversion.job",
    "crossvalidate": "semicml_tf.experiments.crossvalidation",
    "diagnose": "semicml_tf.diagnostics.job",
    "evaluate": "semicml_tf.evaluation.job",
    "experiment": "semicml_tf.experiments.job",
    "export": "semicml_tf.exporting.job",
    "inspect": "semicml_tf.records.job",
    "load": "semicml_tf.inference.exported_model",
    "make_phantom": "semicml_tf.phantom.job",
    "predict": "semicml_tf.inference.job",
    "report": "semicml_tf.reporting.job",
    "train": "semicml_tf.training.job",
    "write_ensemble": "semicml_tf.runs.ensemble",
}
__all__ = sorted(_MODULES)


def __getattr__(name):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__():
    return sorted({*globals(), *__all__})


class _Package(types.ModuleType):
    """The package, in which a function keeps its name when the command of that name is imported."""

    def __setattr__(self, name, value):
        # The import system sets each submodule as an attribute of its package.
        if name not in _MODULES or not isinstance(value, types.ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
