"""`python -m semicml_tf.diagnose RUN similarity`: closed forms, and networks with known maps."""

import dataclasses
import io
import itertools
import json

import numpy as np
import pytest
from PIL import Image

from semicml_tf import commandline
from semicml_tf.diagnostics import similarity, similarity_report
from semicml_tf.errors import UserError
from semicml_tf.methods.catalogue import MethodSettings
from semicml_tf.runs import run_folder
from tests.support.evaluation_data import (
    NORMALISATION,
    WINDOW,
    ball,
    oblique_grid,
    patient,
    without,
    write_dataset,
    write_run,
)

LEVELS = {"stage": {"ct": 0.2, "pet": 0.6}, "last": {"ct": 0.7, "pet": 0.7}}
SETTINGS = {
    "method": ["semi_cml", "prel"],
    "unlabelled_batch": 4,
    "unlabelled_partitions": ["labelled", "unlabelled"],
    "seed": 0,
    "ema_decay": 0.99,
    "lr_drop_epochs": [],
}


def _rows(*drawn):
    maps = np.zeros((len(drawn), 4, 4, 1), np.float32)
    for index, row in enumerate(drawn):
        if row is not None:
            maps[index, row] = 1.0
    return maps


def _kinds(found):
    return {(kind["owner"], kind["seen"]): kind for kind in found["kinds"]}


def test_pairs_are_grouped_by_patient_and_by_visible_foreground():
    # Patient 0: slices 0 and 1; patient 1: slice 2, which the second modality does not see.
    batch = similarity.Batch(_rows(0, 1, 2), _rows(0, 1, None), np.array([0, 0, 1], np.int32))
    found = similarity.measure([batch], MethodSettings(asc_negatives="other_patients", asc_empty="skip"))
    assert (found["slices"], found["seen_by_both"], found["seen_by_one"], found["seen_by_none"]) == (
        3,
        pytest.approx(2 / 3),
        pytest.approx(1 / 3),
        0.0,
    )
    assert found["alike"]["both see"] == pytest.approx(1.0, abs=1e-5)
    assert found["alike"]["one sees"] == pytest.approx(0.0, abs=1e-5)
    assert found["alike"]["neither sees"] is None
    kinds = _kinds(found)
    # 6 maps: 24 ordered pairs of different slices, 8 of them within patient 0; 8 across have the empty map in them.
    assert kinds["same patient", "both see"]["pairs"] == pytest.approx(8 / 24)
    assert kinds["other patients", "both see"]["pairs"] == pytest.approx(8 / 24)
    assert kinds["other patients", "one sees"]["pairs"] == pytest.approx(8 / 24)
    # All of these share nothing, so each pair pushes alike.
    assert kinds["other patients", "both see"]["weight"] == pytest.approx(1 / 3, abs=1e-5)
    assert sum(kind["weight"] for kind in kinds.values()) == pytest.approx(1.0)
    # The empty map is an anchor, because its slice's other map sees something. It is never a negative.
    assert kinds["other patients", "one sees"]["used"] == pytest.approx(1 / 2)
    assert kinds["other patients", "both see"]["used"] == 1.0
    assert kinds["same patient", "both see"]["used"] == 0.0
    everything = _kinds(similarity.measure([batch], MethodSettings(asc_negatives="all", asc_empty="keep")))
    assert {kind["used"] for kind in everything.values()} == {1.0, None}


def test_similar_pairs_have_more_weight():
    # Slice 1 coincides with slice 0, slice 2 with neither: from slice 0's maps, weights e, e, 1, 1.
    maps, patients = _rows(0, 0, 1), np.array([0, 1, 2], np.int32)
    same = dataclasses.replace(MethodSettings(), asc_temperature=0.5)
    found = similarity.pairs(similarity.Batch(maps, maps, patients), same)
    assert found.scores[0, 1] == pytest.approx(1.0) and found.scores[0, 2] == pytest.approx(0.0, abs=1e-5)
    first = similarity.measure([similarity.Batch(maps, maps, np.array([0, 0, 1], np.int32))], same)
    # Rows of slices 0 and 1: two coinciding maps against two others; rows of slice 2: four others.
    inside = np.exp(2) / (np.exp(2) + 1)
    assert _kinds(first)["same patient", "both see"]["weight"] == pytest.approx(2 / 3 * inside, rel=1e-4)


def test_a_patients_slices_are_put_side_by_side():
    batch = similarity.Batch(_rows(0, 1, 2), _rows(1, 2, 3), np.array([7, 5, 7], np.int32))
    ordered = similarity.by_patient(batch)
    assert list(ordered.patients) == [5, 7, 7]
    np.testing.assert_array_equal(ordered.first, batch.first[[1, 0, 2]])
    np.testing.assert_array_equal(ordered.second, batch.second[[1, 0, 2]])


def test_of_several_modalities_each_pair_is_reported_and_drawn():
    maps, patients, settings = _rows(0, 1, 2), np.array([0, 1, 2], np.int32), MethodSettings()
    batch = similarity.Batch(maps, maps, patients)
    pairs = list(itertools.combinations(("ct", "pet", "mr"), 2))
    times = [{"when": "now", "modalities": list(pair), **similarity.measure([batch], settings)} for pair in pairs]
    body = {"modalities": ["ct", "pet", "mr"], "times": times, "batch": 3, "similarity": "dice", "temperature": 1.0}
    body |= {"negatives": "all", "empty": "keep", "run": {"run_hash": "a", "data_hash": "b"}, "command": "c"}
    text = similarity_report.text(body)
    assert all(f"## now: {one} and {other}\n" in text for one, other in pairs)
    png = similarity_report.picture([("now", pair, batch) for pair in pairs], settings)
    width, height = Image.open(io.BytesIO(png)).size
    assert height == 3 * 720 and width == 540


def _constant(level: float) -> list:
    from tests.support.networks import unet

    *rest, kernel, bias = unet(WINDOW, 1, name="constant").get_weights()
    return [*rest, np.zeros_like(kernel), np.full_like(bias, np.log(level / (1 - level)))]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A run with constant networks, of which few slices are compared."""
    return _study(tmp_path, monkeypatch, [])


def _study(tmp_path, monkeypatch, incomplete):
    """The run; the patients of those names lack PET."""
    monkeypatch.setattr(similarity_report, "SLICES", 16)
    native = oblique_grid()
    made = [patient(name, ball(native, (14 + k, 12, 7), 6.5), native) for k, name in enumerate(("l0", "u0", "u1"))]
    made = [without(record, "pet") if record.case_id in incomplete else record for record in made]
    hidden = [dataclasses.replace(record, label=None, native_label=None) for record in made[1:]]
    info = write_dataset(tmp_path / "data", {"labelled": made[:1], "unlabelled": hidden})
    run = tmp_path / "run"
    write_run(run, info)
    body = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(body | {"settings": SETTINGS}))
    last = {}
    for name in NORMALISATION:
        stage = {f"{index:04d}": array for index, array in enumerate(_constant(LEVELS["stage"][name]))}
        np.savez(run_folder.stage_weights_file(run, 0, name), **stage)
        for index, array in enumerate(_constant(LEVELS["last"][name])):
            last[f"network/average/{name}/{index:04d}"] = array
    np.savez(run_folder.checkpoint_file(run), **last)
    return tmp_path


def _report(study, *arguments):
    commandline.call("semicml_tf.diagnose", [str(study / "run"), "similarity", *map(str, arguments)])
    return json.loads((study / "run" / "evaluation" / "similarity" / "report.json").read_text())


def test_networks_of_each_time_are_compared(study, capsys):
    body = _report(study)
    assert [row["when"] for row in body["times"]] == ["after semi_cml", "last checkpoint"]
    stage, last = body["times"]
    assert stage["slices"] == 16 and stage["seen_by_one"] == 1.0 and last["seen_by_both"] == 1.0
    # Area similarity of two constant maps a and b: 2 a b / (a^2 + b^2).
    assert stage["alike"]["one sees"] == pytest.approx(2 * 0.2 * 0.6 / (0.2**2 + 0.6**2), abs=1e-4)
    assert last["alike"]["both see"] == pytest.approx(1.0, abs=1e-4)
    out = study / "run" / "evaluation" / "similarity"
    assert (out / "similarity.png").read_bytes().startswith(b"\x89PNG")
    text = (out / "report.md").read_text()
    assert "## after semi_cml" in text and text in capsys.readouterr().out


def test_a_pair_is_compared_in_the_patients_who_have_both_modalities(tmp_path, monkeypatch):
    seen = set()
    measure = similarity.measure

    def watched(batches, settings):
        seen.update(*(batch.patients.tolist() for batch in batches))
        return measure(batches, settings)

    monkeypatch.setattr(similarity, "measure", watched)
    body = _report(_study(tmp_path / "one", monkeypatch, ["u0"]))
    assert body["times"][0]["slices"] == 16 and seen == {0, 1}  # l0 and u1
    with pytest.raises(UserError, match="expected a case with ct and pet .* all 3 lack one of them .l0, u0, u1."):
        _report(_study(tmp_path / "none", monkeypatch, ["l0", "u0", "u1"]))


def test_a_run_in_its_first_stage_has_a_report(study):
    for name in NORMALISATION:
        run_folder.stage_weights_file(study / "run", 0, name).unlink()
    assert [row["when"] for row in _report(study)["times"]] == ["last checkpoint"]


def test_another_dataset_than_the_runs_own_is_refused(study):
    other = write_dataset(
        study / "other", {"labelled": [patient("x", ball(oblique_grid(), (9, 9, 7), 5), oblique_grid())]}
    )
    with pytest.raises(UserError, match="not those that the run was trained on") as caught:
        _report(study, f"--dataset={other.root}")
    assert "\n" not in caught.value.line
