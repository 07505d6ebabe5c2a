"""Fixtures that several rooms' tests share: logical CPUs, and a converted phantom."""

import contextlib
import os
import pathlib
import signal

import semicml_tf  # noqa: F401  sets oneDNN, which TensorFlow looks at when it is imported

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# As many threads in this process as in its children, whichever starts TensorFlow first: other numbers round otherwise.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(os.cpu_count() or 1))
os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(os.cpu_count() or 1))
# Children that tests start find the package however pytest was started.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(pathlib.Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# `nohup` and shells in the background have these ignored, and the package then lets them be ignored.
with contextlib.suppress(ValueError):  # not in the main thread
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.exporting.publish import publish
from tests.support import class_models, serving_process, threshold_model

# Replicas without a GPU. Must be asked for before TensorFlow starts, hence here.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)


@pytest.fixture(scope="session")
def phantom_dataset(tmp_path_factory) -> pathlib.Path:
    """Folder of a converted CT/PET phantom: 3 labelled, 4 unlabelled, 2 validation and 2 test patients."""
    root = tmp_path_factory.mktemp("phantom")
    commandline.call(
        "semicml_tf.phantom",
        [f"--output={root / 'volumes'}", "--cases=11", "--labelled=3", "--validation=2", "--test=2", "--seed=5"],
    )
    commandline.call(
        "semicml_tf.convert",
        [
            f"--input={root / 'volumes'}",
            f"--output={root / 'dataset'}",
            "--layout=hecktor",
            "--modalities=ct,pet",
            "--reference_modality=ct",
            "--spacing_mm=4,6,6",
            "--allow_empty_labels",
            "--cases_per_shard=2",
        ],
    )
    return root / "dataset"


@pytest.fixture(scope="module")
def quick_runs():
    """Trainings of this module take seconds: see `tests.support.quick_runs`."""
    from tests.support import quick_runs as quick

    with quick.shallow(), quick.built_once():
        yield


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> pathlib.Path:
    """Folder of two published threshold models, `ct` and `pet`; to be read only."""
    folder = tmp_path_factory.mktemp("models")
    for modality in ("ct", "pet"):
        publish(threshold_model.network(modality), threshold_model.manifest(modality), folder / modality)
    return folder


@pytest.fixture(scope="session")
def models_of_classes(tmp_path_factory) -> dict[str, pathlib.Path]:
    """By activation a folder of a model `ct`: two regions (sigmoid), three exclusive classes (softmax); to be read."""
    folder = tmp_path_factory.mktemp("models_of_classes")
    for labels in (class_models.REGIONS, class_models.EXCLUSIVE):
        publish(class_models.network(labels), class_models.manifest(labels), folder / labels.activation / "ct")
    return {name: folder / name for name in ("sigmoid", "softmax")}


@pytest.fixture(scope="session")
def unet_models(tmp_path_factory) -> pathlib.Path:
    """Folder of one published U-Net `ct` that has every signature; to be read only."""
    folder = tmp_path_factory.mktemp("unet_models")
    serving_process.publish_unet(folder)
    return folder


@pytest.fixture(scope="session")
def unet_server(unet_models, tmp_path_factory):
    """Address of an embedded server of `unet_models`, started from TensorFlow Serving's own models.config.

    That names two models; the other one comes later.
    """
    config = f"--model_config_file={serving_process.ROOT / 'serving' / 'models.config'}"
    with serving_process.serving(unet_models, tmp_path_factory.mktemp("unet_server"), config) as (_, address):
        yield address


# Rooms whose files take minutes, longest first: two processes that take file after file then end together.
_LONG = ("training", "methods", "contracts", "storage", "exporting", "docs", "conversion", "serving")
_TESTS = pathlib.Path(__file__).parent


def pytest_collection_modifyitems(items):
    def rank(item):
        room = item.path.relative_to(_TESTS).parts[0]
        return _LONG.index(room) if room in _LONG else len(_LONG)

    items.sort(key=rank)  # stable: a file's own order stays


def pytest_sessionfinish(session):
    """Fails the run if a test was skipped and SEMICML_TF_NO_SKIPS is set: a set that must run whole has run whole."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("SEMICML_TF_NO_SKIPS") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Names what was skipped where nothing may be."""
    if os.environ.get("SEMICML_TF_NO_SKIPS") and (skipped := terminalreporter.stats.get("skipped")):
        terminalreporter.section("SEMICML_TF_NO_SKIPS: no test may be skipped here", red=True)
        for report in skipped:
            terminalreporter.line(f"{report.nodeid}: {report.longrepr[2] if report.longrepr else 'skipped'}")
