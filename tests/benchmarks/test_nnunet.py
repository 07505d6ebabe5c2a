"""The comparison with nnU-Net, whose commands a script stands in for."""

import json
import pathlib
import sys

import pytest

from benchmarks import nnunet
from benchmarks.nnunet import NnunetConfig
from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.evaluation import report

PROGRAM = """#!{python}
import os, pathlib, sys
import nibabel
import numpy as np

arguments = sys.argv[1:]
exported, = pathlib.Path(os.environ["nnUNet_raw"]).glob("Dataset*")
preprocessed = pathlib.Path(os.environ["nnUNet_preprocessed"]) / exported.name
command = pathlib.Path(sys.argv[0]).name
with open({calls!r}, "a") as stream:
    print(command, exported.name, file=stream)
if command == "nnUNetv2_plan_and_preprocess":
    preprocessed.mkdir(parents=True)
elif command == "nnUNetv2_train":
    assert (preprocessed / "splits_final.json").is_file()
else:
    images, masks = (pathlib.Path(arguments[arguments.index(flag) + 1]) for flag in ("-i", "-o"))
    masks.mkdir()
    for path in images.glob("*_0000.nii.gz"):
        image = nibabel.load(path)
        mask = (image.get_fdata() > 3).astype(np.uint8)
        nibabel.Nifti1Image(mask, image.affine).to_filename(masks / path.name.replace("_0000", ""))
"""
COMMANDS = ["nnUNetv2_plan_and_preprocess", "nnUNetv2_train", "nnUNetv2_predict"]


def programs(folder):
    """Stand-ins of nnU-Net's commands, and the file that lists their calls."""
    folder.mkdir()
    for name in COMMANDS:
        path = folder / name
        path.write_text(PROGRAM.format(python=sys.executable, calls=str(folder / "calls")))
        path.chmod(0o755)
    return folder / "calls"


def test_a_dataset_is_exported_trained_predicted_and_scored_once(phantom_dataset, tmp_path, capsys):
    calls = programs(tmp_path / "bin")
    flags = [f"--dataset={phantom_dataset}", f"--output={tmp_path / 'out'}", "--channels=pet"]
    flags.append(f"--nnunet={tmp_path / 'bin'}")
    commandline.call("benchmarks.nnunet", flags)
    assert calls.read_text().splitlines() == [f"{name} Dataset001_dataset_pet" for name in COMMANDS]
    folder = tmp_path / "out/dataset/pet"
    body = report.load(folder / "scores/metrics.json")
    (row,) = report.methods(body)
    assert row["name"] == "nnU-Net, pet" and row["modality"] == "pet"
    # The stand-in is a threshold on PET.
    assert len(row["cases"]) == 2 and row["summary"]["dice"]["mean"] > 0.1
    assert list(json.loads((folder / "steps.json").read_text())["steps"]) == [
        "export", "plan", "train", "predict", "score",
    ]  # fmt: skip
    assert "| dataset | nnU-Net, pet | 0." in capsys.readouterr().out
    commandline.call("benchmarks.nnunet", flags)
    assert len(calls.read_text().splitlines()) == len(COMMANDS)


def test_each_modality_and_all_together(phantom_dataset, tmp_path):
    config = NnunetConfig(dataset=(phantom_dataset,), output=tmp_path)
    assert nnunet.channel_sets(config, config.dataset[0]) == [("ct",), ("pet",), ("ct", "pet")]
    chosen = NnunetConfig(dataset=("a",), output=tmp_path, channels=("pet:ct",))
    assert nnunet.channel_sets(chosen, "a") == [("pet", "ct")]


def test_mistakes(phantom_dataset, tmp_path):
    with pytest.raises(UserError, match="nnUNetv2_plan_and_preprocess: nnU-Net is not installed here"):
        nnunet.main(NnunetConfig(dataset=(phantom_dataset,), output=tmp_path / "out", nnunet=tmp_path))
    with pytest.raises(UserError, match="expected --dataset in folders of different names, got d, d"):
        NnunetConfig(dataset=("a/d", pathlib.Path("b/d")), output=tmp_path)
