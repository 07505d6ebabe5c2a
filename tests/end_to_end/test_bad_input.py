"""Bad input at the commands after conversion: one line that names the file, exit code 2, nothing left behind.

Conversion's own list stands in `test_conversion_command.py`.
"""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError
from tests.support import evaluation_data, image_folders, threshold_model

REPOSITORY = pathlib.Path(__file__).parents[2]


@pytest.fixture
def study(tmp_path):
    """A dataset of three patients and a run of untrained networks on it."""
    native = evaluation_data.oblique_grid((12, 12, 6))
    label = evaluation_data.ball(native, (6, 6, 3), 5.0)
    partitions = {
        name: [evaluation_data.patient(f"{name}_1", label, native)] for name in ("labelled", "validation", "test")
    }
    info = evaluation_data.write_dataset(tmp_path / "data", partitions)
    evaluation_data.write_run(tmp_path / "run", info)
    return tmp_path


def entries(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*"))


def spoiled(path, kind):
    """A CT that cannot be segmented; returns the message to expect."""
    values = threshold_model.volume("ct")
    if kind in ("nan", "inf"):
        values[1, 2, 3] = float(kind)
        image_folders.write(path, values)
        return "1 of 1001 voxels are NaN or infinite"
    if kind == "4-D":
        image_folders.write(path, values[..., np.newaxis].repeat(2, axis=3))
        return r"expected a 3-D volume, got 4-D of shape \(11, 13, 7, 2\)"
    image_folders.write(path, values)
    path.write_bytes(path.read_bytes()[:-300])
    return "truncated"


@pytest.mark.parametrize("kind", ["nan", "inf", "4-D", "truncated"])
def test_predict_names_the_volume_that_it_cannot_read(models, tmp_path, kind):
    volume = tmp_path / "in.nii.gz"
    message = spoiled(volume, kind)
    with pytest.raises(UserError, match=message) as caught:
        commandline.call("semicml_tf.predict", [f"--model={models / 'ct'}", str(volume), str(tmp_path / "mask.nii.gz")])
    assert "\n" not in caught.value.line and str(volume) in caught.value.line
    assert entries(tmp_path) == [pathlib.Path("in.nii.gz")]


@pytest.mark.parametrize("command", ["phantom", "train", "evaluate", "export"])
def test_an_output_that_cannot_be_written_is_named(study, command):
    arguments = {
        "phantom": ["--cases=24", "--phantom_size_mm=64,64,32", "--phantom_spacing_mm=8,8,8"],
        "train": [f"--dataset={study / 'data'}", "--method=supervised", "--epochs=1", "--window=16", "--devices=cpu:0"],
        "evaluate": [f"--run={study / 'run'}"],
        "export": [f"--run={study / 'run'}", "--modalities=pet"],
    }[command]
    (study / "file").write_text("of the user")
    before = entries(study)
    with pytest.raises(UserError, match="cannot write here") as caught:
        commandline.call(f"semicml_tf.{command}", [*arguments, f"--output={study / 'file' / 'out'}"])
    assert "\n" not in caught.value.line and str(study / "file" / "out") in caught.value.line
    assert caught.value.remedy
    assert entries(study) == before and (study / "file").read_text() == "of the user"


def run_as_process(command, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-m", f"semicml_tf.{command}", *arguments],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_as_a_process_a_corrupt_shard_is_one_line(study, command):
    shard = next((study / "data").glob("labelled-*"))
    body = bytearray(shard.read_bytes())
    body[len(body) // 2] ^= 1
    shard.write_bytes(bytes(body))
    before = entries(study)
    arguments = {
        "train": [f"--dataset={study / 'data'}", f"--output={study / 'new'}", "--method=supervised", "--epochs=1"],
        "evaluate": [f"--run={study / 'run'}"],
    }[command]
    done = run_as_process(command, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"semicml_tf.{command}: error: ") and str(shard) in done.stderr
    assert entries(study) == before


def test_as_a_process_a_model_of_the_other_modality_is_one_line(models, tmp_path):
    volume = image_folders.write(tmp_path / "in.nii.gz", threshold_model.volume("ct"))
    done = run_as_process("predict", f"--model={models / 'pet'}", str(volume), str(tmp_path / "mask.nii.gz"))
    assert done.returncode == 2
    # Without a GPU, TensorFlow may log that it found none (E0000 ... cuInit) once a model is opened: no word of ours.
    ours = [line for line in done.stderr.strip().splitlines() if not re.match(r"[EWI]\d{4} ", line)]
    assert len(ours) == 1 and "Traceback" not in done.stderr, done.stderr
    assert str(volume) in done.stderr and "use the model of this volume's modality" in done.stderr
    assert entries(tmp_path) == [pathlib.Path("in.nii.gz")]
