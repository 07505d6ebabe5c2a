"""The gate: which network may replace the published one."""

import dataclasses
import json

import pytest

from semicml_tf.artefact.manifest import RELATIVE_PATH
from semicml_tf.exporting import gate
from tests.support import class_models, threshold_model


def manifest(dice, data_hash="data"):
    return dataclasses.replace(threshold_model.manifest("ct"), validation_dice=dice, data_hash=data_hash)


def version(model, number, dice=0.7, data_hash="data", complete=True):
    folder = model / str(number)
    manifest(dice, data_hash).save(folder)
    if complete:
        (folder / "saved_model.pb").write_bytes(b"")
    return folder


def judged(tmp_path, dice, margin=0.02, data_hash="data"):
    return gate.judge(manifest(dice, data_hash), gate.Former.find(tmp_path), margin)


def test_the_first_version_passes(tmp_path):
    for model in (tmp_path / "nowhere", tmp_path):
        assert gate.Former.find(model) is None
    assert judged(tmp_path, 0.1) == gate.Verdict(True, "")


@pytest.mark.parametrize(
    "dice, margin, passes",
    [(0.9, 0.02, True), (0.7, 0, True), (0.68, 0.02, True), (0.6799, 0.02, False), (0.5, 0.2, True), (0.69, 0, False)],
)
def test_a_fall_by_more_than_the_margin_is_held_back(tmp_path, dice, margin, passes):
    version(tmp_path, 1, 0.9)
    version(tmp_path, 3, 0.7)
    version(tmp_path, 4, 0.1, complete=False)
    found = judged(tmp_path, dice, margin)
    assert found.passes == passes
    assert found.reason == f"validation DSC {dice:.4f} against 0.7000 of version 3"


def test_other_data_is_said(tmp_path):
    version(tmp_path, 2, 0.7, "0123456789abcdef")
    found = judged(tmp_path, 0.5, data_hash="fedcba9876543210")
    assert not found.passes
    assert "trained on other data (hash 0123456789ab, now fedcba987654)" in found.reason


def test_scores_of_an_older_contract_count_and_unknown_ones_are_told(tmp_path):
    path = version(tmp_path, 1, 0.7) / RELATIVE_PATH
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | {"contract_version": 1, "signatures": None}))
    assert not judged(tmp_path, 0.5).passes
    for text in (*(json.dumps(body | {"validation_dice": value}) for value in (None, True, 7, [])), "[]", "[" * 50_000):
        path.write_text(text)
        assert judged(tmp_path, 0.5) == gate.Verdict(
            True, "not compared with version 1: version 1's validation DSC is not known"
        )
    path.write_text(json.dumps(body | {"data_hash": [1]}).replace("0.7,", "NaN,"))
    assert judged(tmp_path, 0.5).passes, "NaN is smaller than nothing, and would hold back every version"
    path.unlink()
    assert judged(tmp_path, 0.5).passes
    assert "this run's" in judged(tmp_path, None).reason


@pytest.mark.parametrize("labels", [class_models.REGIONS, class_models.EXCLUSIVE], ids=lambda one: one.activation)
def test_scores_of_other_classes_are_not_compared(tmp_path, labels):
    version(tmp_path, 1, 0.9)
    made = class_models.manifest(labels, validation_dice=0.1)
    found = gate.judge(made, gate.Former.find(tmp_path))
    assert (
        found.passes
        and f"not compared with version 1: the classes differ ({', '.join(labels.names)} and" in found.reason
    )
    made.save(tmp_path / "2")
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"")
    former = gate.Former.find(tmp_path)
    assert former.classes == labels.names and gate.judge(made, former).reason.startswith(
        "validation DSC 0.1000 against"
    )
