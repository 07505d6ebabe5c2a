"""The committed flagfiles: understood by every command, honest about themselves, and run in small."""

import json
import pathlib
import re

import pytest

from semicml_tf import commandline
from semicml_tf.runs.recipes import RECIPES

REPOSITORY = pathlib.Path(__file__).parents[2]
CONFIGS = sorted((REPOSITORY / "configs").rglob("*.flags"))
PAPER = ("brats_t2_t1ce_paper", "hecktor_ct_pet_paper")
SMALL = ("--phantom_size_mm=128,128,48", "--phantom_spacing_mm=4,4,6", "--empty_fraction=0")


def path_of(name):
    return REPOSITORY / "configs" / f"{name}.flags"


def training(path):
    """The training that a flagfile describes."""
    return commandline.config("semicml_tf.train", [f"--flagfile={path}", "--dataset=DATASET", "--output=RUN"])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_command_understands_it(path):
    taken = set()
    for command in commandline.COMMANDS:
        values, _ = commandline.parse(command, [f"--flagfile={path}"])
        taken |= {name for name in values if values[name].present}
    assert {"modalities", "spacing_mm"} <= taken and {"label_values", "labels"} & taken
    modalities = commandline.parse("semicml_tf.convert", [f"--flagfile={path}"])[0].modalities
    sets = commandline.parse("semicml_tf.experiment", [f"--flagfile={path}"])[0].modality_sets
    for names in [text.split(":") for text in sets] or [modalities]:
        assert set(names) <= set(modalities)
        training(path).check_modalities(names)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_opens_with_command_hardware_time_and_score(path):
    lines = path.read_text().splitlines()
    opening = lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))]
    headings = [found[1] for line in opening if (found := re.match(r"# (Command|Hardware|Time|Score): +\S", line))]
    assert headings == ["Command", "Hardware", "Time", "Score"]
    assert str(path.relative_to(REPOSITORY)) in "".join(opening)


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_configurations_keep_the_recipe(name):
    config = training(path_of(name))
    # The recipe cannot name the teacher, since it knows no modality; the study does.
    recipe = {key: value for key, value in RECIPES["paper"].items() if key != "teacher_modality"}
    assert {key: getattr(config, key) for key in recipe} == recipe
    assert (config.method, sum(config.epochs)) == (("semi_cml", "prel"), 81)
    assert config.window == {"brats_t2_t1ce_paper": 160, "hecktor_ct_pet_paper": 144}[name]
    assert config.teacher_modality == {"brats_t2_t1ce_paper": "t2", "hecktor_ct_pet_paper": "pet"}[name]


@pytest.mark.slow
@pytest.mark.parametrize("name,label_values", zip(PAPER, ([1, 2, 4], [1])))
def test_the_paper_configurations_run_on_a_phantom_in_their_layout(name, label_values, tmp_path):
    volumes, dataset, run, models = (tmp_path / part for part in ("volumes", "dataset", "run", "models"))

    def call(command, *arguments):
        commandline.call(f"semicml_tf.{command}", [f"--flagfile={path_of(name)}", *arguments])

    call("phantom", f"--output={volumes}", *("--cases=8", "--labelled=1", "--validation=1", "--test=2"), *SMALL)
    call("convert", f"--input={volumes}", f"--output={dataset}", "--spacing_mm=6,4,4", "--labelled_fraction=0.4")
    call(
        "train",
        *(f"--dataset={dataset}", f"--output={run}", "--window=32", "--width=2"),
        *("--epochs=1,1", "--steps_per_epoch=2", "--labelled_batch=4", "--unlabelled_batch=4"),
    )
    call("evaluate", f"--run={run}")
    call("export", f"--run={run}", f"--output={models}")

    written = json.loads((run / "run.json").read_text())
    assert (written["step"], written["epochs_done"]) == (4, 2)
    assert len(written["modalities"]) == 2 and written["settings"]["teacher"] == "pool"
    assert (run / "evaluation" / "test" / "metrics.json").is_file()
    for modality in written["modalities"]:
        manifest = json.loads(next((models / modality).rglob("manifest.json")).read_text())
        assert (manifest["modality"], manifest["label_values"]) == (modality, label_values)
