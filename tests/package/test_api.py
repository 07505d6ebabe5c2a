"""The Python API: one config class and one function per job, imported when they are used."""

import importlib.util
import subprocess
import sys
import types

import pytest

import semicml_tf
from semicml_tf import configuration
from semicml_tf.errors import UserError

CONFIGS = [name for name in semicml_tf.__all__ if name.endswith("Config")]
SMALL = {"phantom_size_mm": (96, 96, 32), "phantom_spacing_mm": (6, 6, 8), "labelled": 1, "validation": 1, "test": 1}


def function_of(config):
    name = config.removesuffix("Config").lower()
    return getattr(semicml_tf, {"phantom": "make_phantom"}.get(name, name))


def test_importing_the_package_loads_nothing_else():
    program = (
        "import semicml_tf, sys; loaded = set(sys.modules); assert set(semicml_tf.__all__) <= set(dir(semicml_tf));"
        "print([name for name in ('tensorflow', 'numpy', 'absl', 'semicml_tf.commandline') if name in loaded])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_a_name_that_is_none_of_the_api_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'semicml_tf' has no attribute 'trian'"):
        _ = semicml_tf.trian


@pytest.mark.parametrize("name", semicml_tf.__all__)
def test_a_public_name_stays_itself_when_the_command_of_that_name_is_imported(name):
    before = getattr(semicml_tf, name)
    assert callable(before) and before.__doc__
    if importlib.util.find_spec(f"semicml_tf.{name}"):
        command = importlib.import_module(f"semicml_tf.{name}")
        assert isinstance(command, types.ModuleType) and getattr(semicml_tf, name) is before


@pytest.mark.parametrize("name", CONFIGS)
def test_each_function_refuses_input_that_does_not_exist(name, tmp_path):
    config_class = getattr(semicml_tf, name)
    given = {}
    for one in configuration.options(config_class):
        if one.required:
            value = one.choices[0] if one.choices else str(tmp_path / "none")
            given[one.name] = (value,) if one.is_list else value
    given |= {"PhantomConfig": {"cases": 1}}.get(name, {})
    with pytest.raises(UserError) as caught:
        function_of(name)(config_class(**given))
    assert "\n" not in caught.value.line and not list(tmp_path.glob("*"))


def test_a_config_class_names_what_is_missing():
    with pytest.raises(UserError, match="expected --output, which is missing"):
        semicml_tf.PhantomConfig()


def test_a_phantom_is_made_converted_and_opened(tmp_path, capsys):
    volumes = semicml_tf.make_phantom(
        semicml_tf.PhantomConfig(output=tmp_path / "volumes", cases=4, empty_fraction=0.0, **SMALL)
    )
    assert volumes.empty == 0 and {name: len(cases) for name, cases in volumes.cases.items()} == dict.fromkeys(
        ("labelled", "unlabelled", "validation", "test"), 1
    )
    lines = []
    config = semicml_tf.ConvertConfig(
        input=volumes.folder, output=tmp_path / "data", modalities=["ct", "pet"], spacing_mm=(8, 6, 6), workers=1
    )
    dataset = semicml_tf.convert(config, report=lines.append)
    assert {name: list(cases) for name, cases in dataset.cases.items()} == volumes.cases
    assert capsys.readouterr().out == "" and any("4 cases" in line for line in lines)
    seen = semicml_tf.inspect(semicml_tf.InspectConfig(path=dataset.dataset))
    assert not seen.problems and len(seen.cases) == 4 and dataset.data_hash[:12] in seen.text
