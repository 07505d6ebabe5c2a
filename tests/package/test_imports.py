"""Imports go one way through the house: read from the sources, nothing is executed."""

import ast
import dataclasses
import pathlib
import sys

import pytest

from semicml_tf import commandline
from semicml_tf.methods import catalogue
from semicml_tf.networks import catalogue as networks

REPOSITORY = pathlib.Path(__file__).parents[2]

# The way of the data. A room may import the rooms before it, and none after it.
ORDER = (
    "semicml_tf.errors",
    "semicml_tf.configuration",
    "semicml_tf.command_help",
    "semicml_tf.flagfile",
    "semicml_tf.system",
    "semicml_tf.commandline",
    "semicml_tf.storage",
    "semicml_tf.geometry",
    "semicml_tf.labels",
    "semicml_tf.labels_file",
    "semicml_tf.preprocessing",
    "semicml_tf.postprocessing",
    "semicml_tf.files",
    "semicml_tf.records",
    "semicml_tf.conversion",
    "semicml_tf.phantom",
    "semicml_tf.networks.spec",
    "semicml_tf.artefact",
    "semicml_tf.inference",
    "semicml_tf.input",
    "semicml_tf.networks",
    "semicml_tf.losses",
    "semicml_tf.methods",
    "semicml_tf.runs",
    "semicml_tf.training",
    "semicml_tf.evaluation",
    "semicml_tf.diagnostics",
    "semicml_tf.experiments",
    "semicml_tf.reporting",
    "semicml_tf.exporting",
    "semicml_tf.serving",
)
SERVING = ("client", "route", "server", "ray", "conformance")
# A command in a package of its own: the package's __main__ starts `command`.
PACKAGES = ("semicml_tf.phantom", *(f"semicml_tf.serving.{name}" for name in SERVING))
COMMANDS = {name for name in commandline.COMMANDS if name not in PACKAGES} | {f"{name}.command" for name in PACKAGES}
STARTERS = {f"{name}.__main__" for name in ("semicml_tf", *PACKAGES)}
NOT_FOR_SERVING = tuple(
    f"semicml_tf.{room}"
    for room in ("conversion", "phantom", "input", "networks", "losses", "methods", "training", "evaluation")
)
# What `--help` must not wait for.
TAKES_LONG = {
    "tensorflow", "keras", "tensorflow_serving", "matplotlib", "tensorboard", "apache_beam", "nibabel", "pydicom",
    "highdicom", "SimpleITK", "scipy", "fsspec", "s3fs", "pydantic", "pydantic_core",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Import:
    importer: str
    imported: str
    late: bool  # inside a function: happens when that is called; or for type checkers: never happens

    def __str__(self):
        return f"{self.importer} imports {self.imported}"


def _modules() -> dict[str, pathlib.Path]:
    found = {}
    for top in ("semicml_tf", "serving", "pipelines"):
        for path in (REPOSITORY / top).rglob("*.py"):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _imports(name: str) -> list[Import]:
    found = []

    def visit(node, late):
        if isinstance(node, ast.Import):
            found.extend(Import(name, alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively; name the package"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append(Import(name, whole if whole in MODULES else node.module, late))
        late = late or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        late = late or (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
        for child in ast.iter_child_nodes(node):
            visit(child, late)

    visit(ast.parse(MODULES[name].read_text(encoding="utf-8")), False)
    return found


METHODS = [f"semicml_tf.methods.{name}" for name in catalogue.NAMES]
IMPORTS = [one for name in sorted(MODULES) for one in _imports(name)]


def _within(name: str, place: str) -> bool:
    return name == place or name.startswith(place + ".")


def _place(name: str) -> int | None:
    """Where a module stands in ORDER, by its longest match; none for commands and the package's face."""
    matches = [place for place in ORDER if _within(name, place)]
    return None if name in COMMANDS | STARTERS or not matches else ORDER.index(max(matches, key=len))


def test_the_sources_were_found():
    assert {"semicml_tf", "semicml_tf.serving.client", "pipelines.main_job", "semicml_tf.phantom.command"} <= set(
        MODULES
    )
    assert Import("semicml_tf.train", "semicml_tf.training.job", True) in IMPORTS
    assert Import("semicml_tf.system.atomic_files", "semicml_tf.errors", False) in IMPORTS


def test_every_module_has_its_place():
    core = {name for name in MODULES if _within(name, "semicml_tf")} - COMMANDS
    homeless = {name for name in core if _place(name) is None} - {"semicml_tf"} - STARTERS
    assert not homeless
    assert all(any(_within(name, place) for name in MODULES) for place in ORDER)


def test_imports_go_one_way():
    ranked = [(one, _place(one.importer), _place(one.imported)) for one in IMPORTS]
    assert not [str(one) for one, here, there in ranked if None not in (here, there) and here < there]


def test_no_module_imports_itself_through_others():
    edges = {name: {one.imported for one in IMPORTS if one.importer == name} & set(MODULES) for name in MODULES}
    edges["semicml_tf"] = set()  # its `load` reaches into the house from outside
    done: set[str] = set()

    def walk(name, above):
        assert name not in above, " -> ".join([*above[above.index(name) :], name])
        if name not in done:
            for other in sorted(edges[name]):
                walk(other, [*above, name])
            done.add(name)

    for name in sorted(edges):
        walk(name, [])


def test_commands_are_started_and_not_imported():
    assert not [str(one) for one in IMPORTS if one.imported in COMMANDS]


def test_nothing_in_the_core_knows_serving_or_pipelines():
    outer = ("serving", "pipelines")
    wrong = [one for one in IMPORTS if any(_within(one.imported, top) for top in outer)]
    assert not [str(one) for one in wrong if _within(one.importer, "semicml_tf")]
    assert not [str(one) for one in wrong if _within(one.importer, "serving") and _within(one.imported, "pipelines")]


def test_the_core_works_without_tfx():
    tfx = {
        "tfx",
        "kfp",
        "ml_metadata",
        "tensorflow_data_validation",
        "tensorflow_metadata",
        "tensorflow_model_analysis",
    }
    wrong = [one for one in IMPORTS if one.imported.split(".")[0] in tfx and not _within(one.importer, "pipelines")]
    assert not [str(one) for one in wrong]


def test_serving_knows_nothing_of_training():
    seen, waiting = set(), [name for name in MODULES if _within(name, "semicml_tf.serving")]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [one.imported for one in IMPORTS if one.importer == name and one.imported in MODULES]
    assert {"semicml_tf.artefact.manifest", "semicml_tf.inference.volume"} <= seen
    seen -= {"semicml_tf.networks.spec"}  # data alone, which the manifest holds
    assert not [name for name in sorted(seen) if any(_within(name, room) for room in NOT_FOR_SERVING)]


def test_methods_and_networks_are_known_by_their_catalogues_alone():
    known = {*METHODS, *(entry.module for entry in networks.NETWORKS.values())}
    assert known <= set(MODULES)
    assert not [str(one) for one in IMPORTS if one.imported in known]


@pytest.mark.parametrize("room", ["networks", "losses"])
def test_the_mathematics_runs_on_any_keras_backend(room):
    inside = [one for one in IMPORTS if _within(one.importer, f"semicml_tf.{room}")]
    # One backend's kernel, looked for where that backend runs.
    inside = [one for one in inside if not (one.late and one.importer == "semicml_tf.networks.batch_norm")]
    assert {one.imported.split(".")[0] for one in inside} <= {"keras", "semicml_tf"} | sys.stdlib_module_names


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_waits_for_no_heavy_import(name):
    seen, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += [one.imported for one in IMPORTS if one.importer == module and not one.late]
            # The catalogue imports the methods by their names.
            waiting += METHODS if module == "semicml_tf.methods.catalogue" else []
    assert not {module.split(".")[0] for module in seen} & TAKES_LONG
