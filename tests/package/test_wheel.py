"""The package as others get it: a wheel in an environment of its own, outside the checkout."""

import ast
import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pytest

import semicml_tf

packaging_requirements = pytest.importorskip("packaging.requirements")
pytest.importorskip("setuptools")

REPOSITORY = pathlib.Path(__file__).parents[2]
# Distributions by the module that their users import.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "annotated_types": "annotated-types",
    "google": "protobuf",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "isal": "isal",
    "keras": "keras",
    "matplotlib": "matplotlib",
    "nibabel": "nibabel",
    "numpy": "numpy",
    "pydantic": "pydantic",
    "pydantic_core": "pydantic",
    "scipy": "scipy",
    "surface_distance": "surface-distance",
    "tensorflow": "tensorflow",
    "tensorflow_serving": "tensorflow-serving-api",
    "tqdm": "tqdm",
    "typing_extensions": "typing-extensions",
}
# Imported where they are needed, with a line that names the extra where they are not there.
OPTIONAL = {
    "SimpleITK": "dicom",
    "apache_beam": "beam",
    "contourpy": "dicom",
    "fsspec": "s3",
    "highdicom": "dicom",
    "pydicom": "dicom",
    "ray": "ray",
    "tensorflow_io": "io",
    "tfx": "tfx",
}
# What TFX itself requires and hands on.
OF_TFX = {"ml_metadata", "pandas", "tensorflow_data_validation", "tensorflow_metadata"}
# What `make` installs, and so what the lock holds.
LOCKED = ("dev", "dicom", "s3", "dask")


def _run(*words, cwd, **options):
    # Without the checkout on the path, which the tests' own children have.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        list(map(str, words)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, **options
    )


def _checked(*words, cwd):
    done = _run(*words, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> pathlib.Path:
    """Built from a copy: building leaves its traces in the folder that it reads."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for top in ("semicml_tf", "serving", "pipelines", "tests", "configs"):
        shutil.copytree(REPOSITORY / top, source / top, ignore=ignore)
    for name in ("setup.py", "pyproject.toml", "LICENSE"):
        shutil.copy(REPOSITORY / name, source / name)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir")
    _checked(sys.executable, "-m", "pip", "wheel", *options, folder / "dist", ".", cwd=source)
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> pathlib.Path:
    """The interpreter of a fresh environment that has the wheel, and all else from the running one."""
    folder = tmp_path_factory.mktemp("environment")
    _checked(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    interpreter = folder / "bin" / "python"
    options = ("--no-deps", "--no-index", "--disable-pip-version-check")
    _checked(sys.executable, "-m", "pip", "--python", interpreter, "install", *options, wheel, cwd=folder)
    installed = pathlib.Path(_checked(interpreter, "-c", _PURELIB, cwd=folder).strip())
    running = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    # Paths named by a .pth file come after the environment's own, and their own .pth files are not read: an
    # editable install of the checkout does not show.
    (installed / "dependencies.pth").write_text("\n".join(running))
    return interpreter


_PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def _metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_string(archive.read(name).decode())


def _requirements(wheel):
    return [packaging_requirements.Requirement(text) for text in _metadata(wheel).get_all("Requires-Dist")]


def _normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (licence,) = (name for name in names if ".dist-info/" in name and name.endswith("LICENSE"))
        assert archive.read(licence) == (REPOSITORY / "LICENSE").read_bytes()
    assert wheel.name == f"semicml_tf-{semicml_tf.__version__}-py3-none-any.whl"
    inside = {name for name in names if ".dist-info/" not in name}
    package = REPOSITORY / "semicml_tf"
    wanted = [
        *package.rglob("*.py"),
        *(path for path in (package / "reporting" / "assets").rglob("*") if path.is_file()),
    ]
    assert inside == {str(path.relative_to(REPOSITORY)) for path in wanted}
    assert "semicml_tf/reporting/assets/niivue/LICENSE" in inside


def test_the_metadata_name_licence_pythons_and_extras(wheel):
    metadata = _metadata(wheel)
    assert metadata["Version"] == semicml_tf.__version__
    assert "Apache-2.0" in (metadata["License"], metadata["License-Expression"])
    assert set(metadata["Requires-Python"].split(",")) == {">=3.10", "<3.13"}
    assert set(metadata.get_all("Provides-Extra")) == {
        "cuda", "io", "tfx", "dev", "dicom", "s3", "beam", "dask", "ray"
    }  # fmt: skip


def test_the_requirements_name_what_the_sources_import(wheel):
    imported = set()
    for top in ("semicml_tf", "serving", "pipelines"):
        for path in (REPOSITORY / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    imported.add(node.module.split(".")[0])
    imported -= sys.stdlib_module_names | {"semicml_tf", "serving", "pipelines"}
    for name, extra in OPTIONAL.items():
        assert _normal(DISTRIBUTIONS.get(name, name.replace("_", "-"))) in {
            _normal(one.name) for one in _requirements(wheel) if one.marker and one.marker.evaluate({"extra": extra})
        }
    imported -= set(OPTIONAL) | OF_TFX
    required = {_normal(one.name) for one in _requirements(wheel) if one.marker is None}
    # tf.summary is a module of TensorBoard's, though nobody imports it by name.
    assert {DISTRIBUTIONS[name] for name in imported} | {"tensorboard"} == required


def test_the_lock_keeps_to_the_requirements(wheel):
    lines = (REPOSITORY / "requirements" / "core.lock").read_text().splitlines()
    pinned = dict(line.removesuffix(" \\").split("==") for line in lines if line[:1] not in ("#", " "))
    pinned = {_normal(name): version for name, version in pinned.items()}
    wanted = [
        one
        for one in _requirements(wheel)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in LOCKED)
    ]
    assert len(wanted) > 20
    assert all(after.startswith("    --hash=sha256:") for line, after in zip(lines, lines[1:]) if "==" in line)
    assert not [str(one) for one in wanted if not one.specifier.contains(pinned[_normal(one.name)])]


def test_the_package_is_imported_from_the_fresh_environment(python, tmp_path):
    told = _checked(
        python, "-c", "import semicml_tf as s; print(s.__file__, s.__version__, sep=chr(10))", cwd=tmp_path
    ).split("\n")
    assert pathlib.Path(told[0]).is_relative_to(python.parents[1])
    assert told[1] == semicml_tf.__version__


@pytest.mark.parametrize("command", ["phantom", "convert", "train", "evaluate", "report", "export", "predict"])
def test_every_command_tells_its_help(command, python, tmp_path):
    assert "Flags" in _checked(python, "-m", f"semicml_tf.{command}", "--help", cwd=tmp_path)


def test_names_that_others_may_have_are_not_installed(python, tmp_path):
    for name in ("serving", "pipelines", "tests", "configs"):
        done = _run(python, "-c", f"import {name}", cwd=tmp_path)
        assert f"No module named '{name}'" in done.stderr


@pytest.mark.parametrize("module", ["semicml_tf.serving.client", "semicml_tf.serving.server"])
def test_serving_needs_the_wheel_only(module, python, tmp_path):
    assert "Flags" in _checked(python, "-m", module, "--help", cwd=tmp_path)
    missing = (
        ["--models=none"] if module == "semicml_tf.serving.server" else ["--manifest=none", "--model=ct", "a", "b"]
    )
    done = _run(python, "-m", module, *missing, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr and "none" in done.stderr


def test_a_phantom_is_made_and_converted_by_the_installed_package(python, tmp_path):
    cases = ("--cases=4", "--labelled=1", "--validation=1", "--test=1", "--empty_fraction=0")
    sizes = ("--phantom_size_mm=96,96,48", "--phantom_spacing_mm=6,6,6")
    _checked(python, "-m", "semicml_tf.phantom", "--output=volumes", *cases, *sizes, cwd=tmp_path)
    how = ("--modalities=ct,pet", "--spacing_mm=6,6,6")
    _checked(python.with_name("semicml"), "convert", "--input=volumes", "--output=dataset", *how, cwd=tmp_path)
    assert (tmp_path / "dataset" / "dataset.json").is_file()


def test_the_image_copies_what_is_there_and_sent():
    lines = (REPOSITORY / "Dockerfile").read_text().splitlines()
    own = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--from" not in line]
    copied = [name for names in own for name in names]
    sent = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert {"setup.py", "LICENSE", "semicml_tf/"} <= set(copied)
    for name in copied:
        assert (REPOSITORY / name).exists() and name.rstrip("/") in sent
