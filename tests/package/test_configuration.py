"""Configurations: types, ranges, lists, and the way through flags and back."""

import dataclasses
import pathlib
import types

import pytest

from semicml_tf import command_help, commandline, configuration
from semicml_tf.configuration import check, option
from semicml_tf.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleConfig:
    input: str = option(help="Folder of the images.", path=True)
    count: int = option(3, "Number of cases.", low=1)
    factor: float | None = option(None, "Factor on each value.", above=0, high=2)
    check: bool = option(True, "Read each case.")
    kind: str = option("auto", "Kind of scaling.", choices=("auto", "none"), group="Kinds")
    spacing_mm: tuple[float, float, float] = option((0.0, 0.0, 0.0), "Spacing in mm.", low=0)
    epochs: tuple = option((6, 12), "Epochs.", items=int)
    parts: tuple[str, ...] = option((), "Parts.", choices=("train", "test"))
    row: tuple[str, ...] = option((), "One row.", repeated=True)

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self):
        if self.factor is not None and self.kind == "none":
            yield "--factor and --kind=none contradict each other", "Pass one of them"


GIVEN = {
    "input": "a", "count": 4, "factor": 1.5, "check": False, "spacing_mm": (3.27, 4.0, 4.0), "epochs": (), "parts":
    ("test",), "row": ("a,b", 'c "d"'),
}  # fmt: skip
LINES = [
    "--input=a", "--count=4", "--factor=1.5", "--nocheck", "--spacing_mm=3.27,4,4", "--epochs=", "--parts=test",
    "--row=a,b", '--row=c "d"',
]  # fmt: skip


def from_lines(config_class, lines):
    values = commandline._flag_values(types.SimpleNamespace(CONFIG=config_class))
    values(["command", *lines])
    return commandline.config_from(config_class, values)


def test_a_config_goes_through_flags_and_back():
    config = from_lines(ScaleConfig, LINES)
    assert config == ScaleConfig(**GIVEN)
    assert configuration.given(config) == configuration.given(ScaleConfig(**GIVEN)) == tuple(GIVEN)
    assert configuration.as_flags(config, configuration.given(config)) == LINES
    assert from_lines(ScaleConfig, configuration.as_flags(config)) == config


@pytest.mark.parametrize("value", ["a\nb", "a\r", "a\u2028b", "a "])
def test_a_value_that_does_not_fit_into_a_line_of_a_flagfile_is_refused(value):
    config = ScaleConfig(input=value)
    assert configuration.as_flags(config, ["input"]) == [f"--input={value}"]
    with pytest.raises(UserError, match="expected --input without line breaks and without spaces at its end, got"):
        configuration.flagfile_lines(config, ["input"])


def test_an_option_at_its_default_is_given_if_the_user_gave_it():
    assert configuration.given(from_lines(ScaleConfig, ["--input=a", "--count=3"])) == ("input", "count")
    assert configuration.given(ScaleConfig(input="a", count=3)) == ("input",)


def test_python_values_get_the_types_of_their_options():
    config = ScaleConfig(input=pathlib.Path("a"), factor=1, spacing_mm=[1, 2, 3], row=["x"])
    assert (config.input, config.spacing_mm, config.row) == ("a", (1.0, 2.0, 3.0), ("x",))
    assert type(config.factor) is type(config.spacing_mm[0]) is float


@pytest.mark.parametrize(
    ("name", "text", "value", "message"),
    [
        ("input", "", "", "expected --input, which is missing. See --help."),
        ("count", "many", "many", "expected --count to be a whole number of at least 1, got 'many'."),
        ("count", "0", 0, "expected --count to be a whole number of at least 1, got '0'"),
        ("count", "1.5", 1.5, "expected --count to be a whole number of at least 1, got '1.5'"),
        ("factor", "0", 0.0, "expected --factor to be a number above 0 and up to 2, got"),
        ("factor", "nan", float("nan"), "expected --factor to be a number above 0 and up to 2, got 'nan'"),
        ("kind", "non", "non", "expected --kind to be one of auto, none, got 'non'. Did you mean --kind=none?"),
        ("spacing_mm", "1,2", (1, 2), "to be 3 numbers of at least 0, separated by commas, got '1,2'"),
        ("spacing_mm", "1,2,x", (1, 2, "x"), "to be 3 numbers of at least 0, separated by commas, got '1,2,x'"),
        ("epochs", "1,2.5", (1, 2.5), "to be whole numbers, separated by commas, got '1,2.5'"),
        ("parts", "test,all", ("test", "all"), "to be texts out of train, test, separated by commas, got 'test,all'"),
    ],
)
def test_a_wrong_value_is_refused_alike_on_the_command_line_and_in_python(name, text, value, message):
    for make in (
        lambda: from_lines(ScaleConfig, ["--input=a", f"--{name}={text}"]),
        lambda: ScaleConfig(**{"input": "a", name: value}),
    ):
        with pytest.raises(UserError) as caught:
            make()
        assert message in caught.value.line


@pytest.mark.parametrize("wrong", [{"check": 1}, {"count": True}, {"count": None}, {"parts": "test"}, {"input": 3}])
def test_a_wrong_type_is_refused(wrong):
    with pytest.raises(UserError, match=f"expected --{next(iter(wrong))} to be "):
        ScaleConfig(**{"input": "a", **wrong})


def test_all_problems_stand_in_one_line():
    with pytest.raises(UserError) as caught:
        ScaleConfig(count=0, kind="none", factor=1.0)
    count = "expected --count to be a whole number of at least 1, got '0'"
    assert caught.value.line == f"expected --input, which is missing (See --help); {count}."
    with pytest.raises(UserError, match="--factor and --kind=none contradict each other. Pass one of them."):
        ScaleConfig(input="a", kind="none", factor=1.0)


def test_a_class_may_choose_defaults_by_what_was_given():
    @dataclasses.dataclass(frozen=True)
    class WithRecipe:
        recipe: str = option("default", choices=("default", "paper"))
        width: int = option(16)

        @classmethod
        def of_given(cls, options):
            return cls(**{"width": 32 if options.get("recipe") == "paper" else 16} | options)

    assert from_lines(WithRecipe, ["--recipe=paper"]) == WithRecipe("paper", 32)
    assert from_lines(WithRecipe, ["--recipe=paper", "--width=8"]) == WithRecipe("paper", 8)


def test_help_shows_each_option_in_its_group():
    module = types.SimpleNamespace(__doc__="Scales.", CONFIG=ScaleConfig)
    lines = command_help.text(module, hidden=("check",)).splitlines()
    assert lines[:5] == ["Scales.", "", "Flags:", "  --input", "      Folder of the images. (required)"]
    assert lines[lines.index("Kinds:") + 1 :][:2] == [
        "  --kind",
        "      Kind of scaling. (one of auto, none; default: auto)",
    ]
    assert "      Number of cases. (at least 1; default: 3)" in lines and "      Epochs. (default: 6,12)" in lines
    assert "  --check" not in lines


CONFIGS = {
    name: module.CONFIG
    for name in commandline.COMMANDS
    for module in [commandline._command_module(name)]
    if hasattr(module, "CONFIG")
}


# Beside the options that are always required.
NEEDED = {"semicml_tf.train": {"output": "RUN"}, "semicml_tf.evaluate": {"run": "RUN"}}


def samples(one):
    """Values of an option other than its default."""
    if one.kind is bool:
        yield not one.default
        return
    if one.kind is str:
        elements = one.choices or ("some text",)
    else:
        ends = [end for end in (one.low, one.high, (one.above or 0) + 1) if end is not None]
        elements = [one.kind(end) for end in ends]
    for element in elements:
        if element != one.default:
            yield (element,) * (one.length or 1) if one.is_list else element


@pytest.mark.parametrize("name", CONFIGS)
def test_each_option_of_each_command_goes_through_a_flagfile(name, tmp_path):
    options = configuration.options(CONFIGS[name])
    required = {one.name: next(samples(one)) for one in options if one.required} | NEEDED.get(name, {})
    path = tmp_path / "a.flags"
    if commandline.FLAGFILE in (one.name for one in options):  # a file cannot name itself
        required[commandline.FLAGFILE] = (str(path),)
        options = [one for one in options if one.name != commandline.FLAGFILE]
    tried = []
    for one in options:
        assert one.help.endswith(".") or "\n" in one.help, f"--{one.name}: write sentences"
        for value in samples(one):
            path.write_text("")  # the config of an experiment reads its flagfile
            try:
                config = CONFIGS[name](**{**required, one.name: value})
            except UserError:  # a value that contradicts the others, or that has a form of its own
                continue
            path.write_text("\n".join(configuration.as_flags(config, [other.name for other in options])))
            assert commandline.config(name, [f"--flagfile={path}"]) == config
            tried.append(one.name)
    assert len(set(tried)) > len(options) / 2
