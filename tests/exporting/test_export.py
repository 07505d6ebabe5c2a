"""`python -m semicml_tf.export` on the folder of a run."""

import contextlib
import dataclasses
import json
import pathlib
import shutil

import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf

import semicml_tf
from semicml_tf import commandline
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.exporting import job as exporting
from semicml_tf.exporting.config import ExportConfig
from semicml_tf.exporting.publish import Published
from semicml_tf.records.dataset import DatasetInfo
from tests.support import class_models
from tests.support.run_folders import make_run, random_weights


@pytest.fixture(scope="module")
def weights():
    """Of both networks, all random, so that none is like the other's: those of a new network are 0 and 1 in part."""
    return random_weights(3)


def change_run(folder, **dice):
    """Gives the run other validation scores."""
    body = json.loads((folder / "run.json").read_text())
    for modality, value in dice.items():
        body["best"][modality]["dice"] = value
    (folder / "run.json").write_text(json.dumps(body))


def _export(run, output, **options):
    return exporting.export(ExportConfig(run=run, output=output, **options)).models


@pytest.fixture
def run(tmp_path, weights):
    return make_run(tmp_path, weights)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, weights):
    """Folder of the models of a run; to be read only."""
    root = tmp_path_factory.mktemp("exported")
    commandline.call("semicml_tf.export", [str(make_run(root, weights)), f"--output={root / 'models'}"])
    return root / "models"


@pytest.fixture
def published(monkeypatch):
    """Replaces `stage` and the networks, which take seconds: writes a folder, and lists the versions."""
    calls = []

    @dataclasses.dataclass
    class Staged:
        path: pathlib.Path
        manifest: Manifest

        def publish(self):
            folder = self.path.parent
            number = max((int(entry.name) for entry in folder.glob("[0-9]*")), default=0) + 1
            self.path.rename(folder / str(number))
            calls.append((self.manifest.modality, number, self.manifest.probabilities_dtype))
            return Published(folder / str(number), number, 0.0)

    @contextlib.contextmanager
    def stage(network, manifest, folder, *, settings, with_dropout):
        path = folder / ".staged-x"
        manifest.save(path)
        (path / "saved_model.pb").write_bytes(b"")
        try:
            yield Staged(path, manifest)
        finally:
            shutil.rmtree(path, ignore_errors=True)

    monkeypatch.setattr(exporting, "stage", stage)
    monkeypatch.setattr(exporting.Members, "networks", lambda members, modality: (None, None))
    return calls


def test_every_modality_gets_a_model(exported):
    report = json.loads((exported / "export.json").read_text())
    assert set(report["models"]) == {"ct", "pet"} and report["run_hash"] == "abc"
    for modality, dice, how in (("ct", 0.6, "hu:-150:250"), ("pet", 0.7, "suv:0:12")):
        folder = exported / modality / "1"
        told = report["models"][modality]
        assert (told["status"], told["folder"], told["former_version"]) == ("published", str(folder), None)
        assert told["max_difference"] <= 1e-5
        manifest = Manifest.load(folder)
        assert (manifest.modality, manifest.validation_dice, str(manifest.normalisation)) == (modality, dice, how)
        assert manifest.spacing_mm == (3.0, 2.0, 2.0) and manifest.labels.values == (1, 2) and manifest.monte_carlo
        assert "| method | `semi_cml,prel` |" in (folder / "assets.extra" / "MODEL_CARD.md").read_text()
        assert semicml_tf.load(folder).manifest == manifest
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        assert names == [
            *("assets.extra/MODEL_CARD.md", "assets.extra/manifest.json", "assets.extra/tf_serving_warmup_requests"),
            *("fingerprint.pb", "saved_model.pb"),
            *("variables/variables.data-00000-of-00001", "variables/variables.index"),
        ]


def test_a_model_holds_the_variables_of_its_modality_and_nothing_of_the_other(exported, weights):
    count = len(weights["ct"])
    for modality, other in (("ct", "pet"), ("pet", "ct")):
        folder = exported / modality / "1"
        stored = dict(tf.train.list_variables(str(folder / "variables" / "variables")))
        variables = [name for name in stored if name.endswith("VARIABLE_VALUE")]
        assert len(variables) == count
        assert sum(int(np.prod(stored[name])) for name in variables) == sum(w.size for w in weights[modality])
        # Any number of the networks is one of 2^32: two of them next to each other are found nowhere by chance.
        files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        large = {name: [w.astype("<f4").tobytes() for w in weights[name] if w.size >= 2] for name in (modality, other)}
        assert len(large[modality]) == count - 1  # the last bias is one number
        assert all(any(weight in content for content in files.values()) for weight in large[modality])
        assert not [path for path, content in files.items() if any(weight in content for weight in large[other])]


def test_a_model_must_segment_the_cases_of_check_input(models, run, tmp_path):
    """The cases come from a table as in conversion. A PET in the place of a CT is an error that names the case."""
    values = np.random.default_rng(0).normal(0, 200, (40, 40, 4)).astype(np.float32)
    for name, array in (("a", values), ("b", np.abs(values) / 100)):
        nib.save(nib.Nifti1Image(array, np.diag([2, 2, 3, 1])), tmp_path / f"{name}.nii.gz")
    table = tmp_path / "cases.csv"
    table.write_text("case,ct,pet\nA,a.nii.gz,\nB,b.nii.gz,\n", encoding="utf-8")
    cases = exporting.trial_cases(str(table), "ct")
    exporting.run_trial(models / "ct" / "1", cases[:1])
    with pytest.raises(UserError, match=r"^1 of 2 cases of --check_input .*: B \(.*HU.*Nothing was published"):
        exporting.run_trial(models / "ct" / "1", cases)
    with pytest.raises(UserError, match="expected cases with an image of 'pet', got none"):
        _export(run, tmp_path / "models", modalities=("pet",), check_input=table)


def test_a_second_modality_that_fails_its_check_leaves_nothing_published(run, tmp_path, published, monkeypatch):
    tried = []

    def check(folder, cases):
        tried.append((folder.parent.name, [case.name for case in cases]))
        if folder.parent.name == "pet":
            raise UserError("1 of 1 cases of --check_input cannot be segmented")

    monkeypatch.setattr(exporting, "run_trial", check)
    for name in ("ct", "pet"):
        nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), tmp_path / f"{name}.nii.gz")
    (tmp_path / "cases.csv").write_text("case,ct,pet\nA,ct.nii.gz,pet.nii.gz\n", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be segmented"):
        _export(run, tmp_path / "models", check_input=tmp_path / "cases.csv")
    assert tried == [("ct", ["A"]), ("pet", ["A"])] and published == []
    assert not any(path.is_file() for path in (tmp_path / "models").rglob("*"))


def test_a_failure_after_the_first_version_leaves_a_report_of_it(run, tmp_path, published, monkeypatch):
    """export.json says what was published, also where an old version could not be removed."""

    def failing(*_):
        raise UserError("cannot write here")

    monkeypatch.setattr(exporting, "remove_old", failing)
    with pytest.raises(UserError, match="cannot write here"):
        _export(run, tmp_path / "models", keep=1)
    report = json.loads((tmp_path / "models" / "export.json").read_text())["models"]
    assert {name: one["version"] for name, one in report.items()} == {"ct": 1, "pet": 1}


def test_a_second_version_that_cannot_get_its_number_is_reported_as_failed(run, tmp_path, published, monkeypatch):
    rename = pathlib.Path.rename

    def failing(path, target):
        if path.parent.name == "pet":
            raise UserError("cannot write here")
        return rename(path, target)

    monkeypatch.setattr(pathlib.Path, "rename", failing)
    with pytest.raises(UserError, match="cannot write here"):
        _export(run, tmp_path / "models")
    report = json.loads((tmp_path / "models" / "export.json").read_text(encoding="utf-8"))["models"]
    assert {name: one["status"] for name, one in report.items()} == {"ct": "published", "pet": "failed"}


def test_modalities_choose(run, tmp_path, published):
    commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'models'}", "--modalities=pet"])
    assert [entry.name for entry in (tmp_path / "models").iterdir() if entry.is_dir()] == ["pet"]
    with pytest.raises(UserError, match="among ct, pet, got 'mr'"):
        commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'other'}", "--modalities=mr"])
    assert not (tmp_path / "other").exists()


def test_a_network_that_is_clearly_worse_is_held_back_and_the_other_is_published(run, tmp_path, published, capsys):
    arguments = [str(run), f"--output={tmp_path / 'models'}"]
    commandline.call("semicml_tf.export", arguments)
    change_run(run, ct=0.57, pet=0.69)
    with pytest.raises(UserError) as caught:
        commandline.call("semicml_tf.export", arguments)
    line = caught.value.line
    assert (
        "worse by more than 0.02: ct: validation DSC 0.5700 against 0.6000 of version 1. Published: pet 2. Pass --force"
        in line
    )
    assert "\n" not in line and "other data" not in line
    assert published == [("ct", 1, "float32"), ("pet", 1, "float32"), ("pet", 2, "float32")]
    told = json.loads((tmp_path / "models" / "export.json").read_text())["models"]
    assert told["ct"]["status"] == "held back" and told["ct"]["version"] is None
    assert told["ct"]["former_validation_dice"] == 0.6 and not told["ct"]["gate"]["passed"]
    assert told["pet"]["version"] == 2 and told["pet"]["gate"]["passed"]
    capsys.readouterr()
    commandline.call("semicml_tf.export", [*arguments, "--modalities=ct", "--force", "--probabilities_dtype=float16"])
    assert published[-1] == ("ct", 2, "float16")
    assert "against 0.6000 of version 1: published by --force" in capsys.readouterr().out
    # The next is compared with what is published now.
    change_run(run, ct=0.56)
    commandline.call("semicml_tf.export", [*arguments, "--modalities=ct"])
    change_run(run, ct=0.5)
    commandline.call("semicml_tf.export", [*arguments, "--modalities=ct", "--gate_margin=0.1"])
    assert published[-1] == ("ct", 4, "float32")


def test_the_command_ends_with_2_if_one_is_held_back(run, tmp_path, published, capsys):
    for dice, code in ((0.7, 0), (0.1, 2)):
        change_run(run, ct=dice, pet=dice)
        with pytest.raises(SystemExit) as caught:
            commandline.run("semicml_tf.export", [str(run), f"--output={tmp_path / 'models'}"])
        assert caught.value.code == code
    assert "Published: none" in capsys.readouterr().err.splitlines()[-1]


def test_old_versions_go_once_the_new_one_is_there(run, tmp_path, published, monkeypatch):
    def export(keep):
        return _export(run, tmp_path / "models", modalities=("ct",), keep=keep)["ct"].removed

    def left():
        return sorted(int(entry.name) for entry in (tmp_path / "models" / "ct").iterdir())

    assert [export(None) for _ in range(4)] == [()] * 4
    assert export(2) == (1, 2) and left() == [3, 4, 5]
    # Held back or failed, nothing goes.
    change_run(run, ct=0.1)
    assert export(1) == () and left() == [3, 4, 5]
    change_run(run, ct=0.6)

    def failing(*_, **__):
        raise UserError("no space")

    monkeypatch.setattr(exporting, "stage", failing)
    with pytest.raises(UserError, match="no space"):
        export(1)
    assert left() == [3, 4, 5]


def test_scores_on_validation_are_those_of_the_masks_that_clients_get(run, tmp_path, published):
    def scores():
        found = _export(run, tmp_path / "models")
        return found["ct"].manifest.validation_scores, found["pet"].manifest.validation_scores

    assert scores() == ({}, {})
    best = json.loads((run / "run.json").read_text())["best"]
    summary = {"cases": 8, "missed": 1, "dice": {"mean": 0.61, "n": 8}, "hd95_mm": {"mean": 9.5}, "ppv": {"mean": None}}
    rows = [
        {"name": "ct", "kind": "network", "modality": "ct", "summary": summary | {"lesions": {"true": 3}}, "cases": []},
        {"name": "a", "kind": "blind", "modality": None, "summary": summary | {"dice": {"mean": 0.1}}, "cases": []},
    ]
    body = {"report_version": 2, "run": {"run_hash": "abc", "best": best}, "dataset": {"data_hash": "d"}, "rows": rows}
    body |= {"partition": "validation", "policy": {}, "notes": [], "blind": {}}
    body |= {"surface_tolerance_mm": 2.0, "failure_dice": 0.5}
    path = run / "evaluation" / "validation" / "metrics.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(body))
    assert scores() == ({"dice": 0.61, "hd95_mm": 9.5}, {})
    for change in ({"run": {"run_hash": "abc", "best": {}}}, {"postprocessing": {"ct": "largest"}}):
        path.write_text(json.dumps(body | change))
        assert scores() == ({}, {})


def test_data_that_changed_since_training_is_refused(run, tmp_path):
    info = DatasetInfo.load(tmp_path / "data")
    dataclasses.replace(info, spacing_mm=(3.0, 2.0, 1.0)).with_hash().save(info.root)
    with pytest.raises(UserError, match="another hash"):
        commandline.call("semicml_tf.export", [str(run), f"--output={tmp_path / 'models'}"])
    assert not (tmp_path / "models").exists()


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(UserError, match="expected --run, which is missing"):
        commandline.call("semicml_tf.export", [])
    with pytest.raises(UserError, match="run.json: expected a run's folder"):
        commandline.call("semicml_tf.export", [str(tmp_path)])


def test_a_run_of_classes_is_exported_with_its_classes_and_thresholds(tmp_path, weights, published):
    folder = make_run(tmp_path, weights, dataclasses.replace(class_models.REGIONS, ignore_value=9))
    body = json.loads((folder / "run.json").read_text())
    body["labels"] = dataclasses.replace(class_models.REGIONS, ignore_value=9).to_json()
    for number, one in enumerate(body["best"].values()):
        one["threshold"] = {"whole": 0.2, "core": 0.5 + number / 4}
    (folder / "run.json").write_text(json.dumps(body))
    commandline.call("semicml_tf.export", [str(folder), f"--output={tmp_path / 'models'}"])
    made = Manifest.load(tmp_path / "models" / "pet" / "1")
    assert made.labels.names == ("whole", "core") and made.labels.ignore_value == 9
    assert dict(made.thresholds) == {"whole": 0.2, "core": 0.75}
    assert [call[0] for call in published] == ["ct", "pet"]
