"""Several runs as one model per modality: closed forms of the manifest, refusals, and the served mean."""

import dataclasses
import hashlib
import json

import nibabel
import numpy as np
import pytest

import semicml_tf
from semicml_tf import commandline
from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.exporting.ensemble import MeanNetwork, combined_hash, majority, mean_manifest
from semicml_tf.exporting.members import Members
from semicml_tf.exporting.publish import publish
from semicml_tf.networks import catalogue
from semicml_tf.postprocessing.steps import Postprocessing
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.dataset import CaseEntry
from semicml_tf.records.shards import shard_name
from semicml_tf.runs.ensemble import write_ensemble
from tests.support import class_models, threshold_model
from tests.support.run_folders import SPEC, make_run
from tests.support.serving_process import require_conformance, serving_here


@pytest.mark.parametrize(
    "choices, expected",
    [
        (["largest", "largest", "none"], "largest"),
        (["largest", "none"], "none"),  # a half is not more than half
        (["min_ml=2", "min_ml=0.5", "min_ml=5"], "min_ml=2"),
        (["min_ml=2", "min_ml=0.5", "none"], "min_ml=0.5"),
        (["min_ml=2", "min_ml=0.5", "none", "none"], "none"),
        (["fill_holes+min_ml=1", "fill_holes+largest", "min_ml=1+largest"], "fill_holes+min_ml=1+largest"),
        (["fill_holes"], "fill_holes"),
    ],
)
def test_steps_count_that_more_than_half_of_the_members_chose(choices, expected):
    assert str(majority([Postprocessing.parse(text) for text in choices])) == expected


def test_a_manifest_of_the_mean_in_closed_form():
    one = class_models.manifest(class_models.REGIONS, validation_dice=0.5, validation_scores={"dice": 0.4, "ppv": 1.0})
    two = class_models.manifest(
        class_models.REGIONS,
        validation_dice=0.8,
        validation_scores={"dice": 0.6},
        run_hash="other",
        postprocessing={"whole": Postprocessing(largest=True), "core": Postprocessing()},
    )
    two = dataclasses.replace(two, thresholds={"whole": 0.5, "core": 0.7}).accepting(["suv_too_low"])
    mean = mean_manifest([one, two])
    assert mean.thresholds == pytest.approx({"whole": 0.4, "core": 0.65})
    assert mean.validation_dice == pytest.approx(0.65) and mean.validation_scores == pytest.approx({"dice": 0.5})
    assert mean.steps_text == "none" and mean.limits.accepted == () and mean.members == 2
    assert mean.data_hash == "data-ct" and mean_manifest([two, one]).run_hash == mean.run_hash
    assert mean.run_hash == hashlib.sha256(b"other\nrun-ct\n").hexdigest() == combined_hash(["run-ct", "other"])
    assert mean_manifest([one]) is one
    assert mean_manifest([one, dataclasses.replace(two, validation_dice=None)]).validation_dice is None
    body = json.loads(mean.to_json())
    assert body["members"] == 2 and Manifest.from_json(mean.to_json(), "a server") == mean
    assert "members" not in json.loads(one.to_json())
    with pytest.raises(UserError, match="members: expected .*1"):
        Manifest.from_json(json.dumps(body | {"members": 0}), "a server")


def test_the_mean_of_exclusive_classes_is_the_mean_of_softmax(tmp_path):
    labels = class_models.EXCLUSIVE
    networks = [class_models.network(labels) for _ in range(2)]
    kernel, bias = networks[1].get_weights()
    networks[1].set_weights([kernel / 50, bias / 50])
    slices = np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 1)).astype(np.float32)
    published = publish(MeanNetwork(networks), class_models.manifest(labels, members=2), tmp_path / "ct", warm_up=())
    answers = [np.asarray(network(slices)) for network in networks]
    assert np.abs(answers[0] - answers[1]).max() > 0.1
    found = semicml_tf.load(published.folder).slices(slices)
    np.testing.assert_allclose(found, (answers[0] + answers[1]) / 2, atol=1e-6)
    card = (published.folder / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "An ensemble of 2 networks" in card and "The ensemble itself was scored on nobody" in card


NARROW = {"ct": Normalisation.parse("hu:0:9"), "pet": Normalisation.parse("suv:0:12")}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"data": {"spacing_mm": (3.0, 2.0, 1.0)}}, "the same spacing_mm in an ensemble, got 3x2x2 in .* and 3x2x1 in"),
        ({"data": {"crop": "body"}}, "the same crop in an ensemble, got none in .* and body in"),
        ({"data": {"normalisation": NARROW}}, "the same normalisation .*ct=hu:-150:250.*ct=hu:0:9"),
        ({"labels": class_models.REGIONS}, "the same classes .*lesion:1.2 .*whole:1.2"),
        (
            {"spec": dataclasses.replace(SPEC, width=3)},
            "the same width of the network .* got 2 in .* and 3 in",
        ),
        ({"modalities": ["ct"]}, "the same modalities in an ensemble, got ct, pet in .* and ct in"),
    ],
)
def test_runs_that_do_not_fit_each_other_are_refused_with_both_values(tmp_path, change, message):
    folders = [make_run(tmp_path / "a"), make_run(tmp_path / "b", **change)]
    write_ensemble(tmp_path / "ensemble", folders)
    with pytest.raises(UserError, match=f"expected runs with {message}") as caught:
        Members.load(tmp_path / "ensemble", None)
    assert "\n" not in caught.value.line


def test_test_cases_that_another_member_has_seen_are_a_warning(tmp_path):
    def cases(**partitions):
        entries = {
            name: tuple(
                CaseEntry(case, shard_name(name, 0, 1), place, (4, 4, 4), 1) for place, case in enumerate(names)
            )
            for name, names in partitions.items()
        }
        return {"partitions": entries, "shard_sha256": {shard_name(name, 0, 1): "0" * 64 for name in partitions}}

    one = make_run(tmp_path / "a", data=cases(labelled=["A", "B"], test=["C", "D"]))
    two = make_run(tmp_path / "b", data=cases(labelled=["A"], validation=["C"], test=["B", "D"]))
    write_ensemble(tmp_path / "ensemble", [one, two])
    (line,) = Members.load(tmp_path / "ensemble", None).warnings()
    assert line.startswith("warning: of the 3 test cases of the ensemble's runs, other members have seen 2.")
    assert Members.load(one, None).warnings() == ()


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Folder with the models of two runs, `a` and `b`, and those of their ensemble, `mean`: all of CT."""
    root = tmp_path_factory.mktemp("ensemble")
    runs = []
    for seed, name in enumerate(("a", "b")):
        networks = {one: catalogue.build(SPEC, name=one, seed=seed).get_weights() for one in ("ct", "pet")}
        best = {one: {"dice": 0.6 + seed / 10, "threshold": 0.4, "step": 3, "stage": "x"} for one in ("ct", "pet")}
        settings = {"method": ["semi_cml", "prel"][seed:], "seed": seed}
        runs.append(make_run(root / name, networks, run_hash=name, best=best, settings=settings))
    write_ensemble(root / "ensemble", runs)
    for run, name in ((runs[0], "a"), (runs[1], "b"), (root / "ensemble", "mean")):
        commandline.call("semicml_tf.export", [str(run), f"--output={root / 'models' / name}", "--modalities=ct"])
    return root


def test_an_ensemble_is_one_model_with_its_count(study):
    folder = study / "models" / "mean"
    manifest = Manifest.load(folder / "ct" / "1")
    assert manifest.members == 2 and manifest.monte_carlo and manifest.network == SPEC
    assert manifest.validation_dice == pytest.approx(0.65) and manifest.threshold == pytest.approx(0.4)
    body = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert [one["run_hash"] for one in body["members"]] == ["a", "b"] and body["run"] == str(study / "ensemble")
    assert body["run_hash"] == manifest.run_hash and body["models"]["ct"]["max_difference"] <= 1e-5
    card = (folder / "ct" / "1" / "assets.extra" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| seed | `0 / 1` |" in card and "| method | `semi_cml,prel / prel` |" in card
    assert "mean over 2 networks with their own patients | 0.6500 |" in card
    single = (study / "models" / "a" / "ct" / "1" / "assets.extra" / "manifest.json").read_text(encoding="utf-8")
    assert "members" not in single
    assert "members" not in json.loads((study / "models" / "a" / "export.json").read_text(encoding="utf-8"))


def test_a_served_ensemble_equals_predict_with_its_members(study, tmp_path):
    """On the patient's own grid; the mask, too. The server passes the conformance suite."""
    values = threshold_model.volume("ct", (37, 40, 6))
    nibabel.save(nibabel.Nifti1Image(values, threshold_model.oblique()), tmp_path / "in.nii.gz")
    models = study / "models"

    def segment(command, name, *model):
        commandline.call(
            f"semicml_tf.{command}",
            [*model, f"--input={tmp_path / 'in.nii.gz'}", f"--output={tmp_path / name}-mask.nii.gz"]
            + [f"--probabilities={tmp_path / name}.nii.gz"],
        )
        files = (f"{name}.nii.gz", f"{name}-mask.nii.gz")
        return [np.asarray(nibabel.load(tmp_path / file).dataobj) for file in files]

    alone = [segment("predict", name, f"--model={models / name / 'ct'}")[0] for name in ("a", "b")]
    together, mask = segment("predict", "both", f"--model={models / 'a' / 'ct'},{models / 'b' / 'ct'}")
    with serving_here(models / "mean") as address:
        served, served_mask = segment("serving.client", "served", f"--address={address}", "--model=ct")
        require_conformance(address, models / "mean", tmp_path / "conformance.json")
    assert np.ptp(served) > 0.01 and np.abs(alone[0] - alone[1]).max() > 0.01
    np.testing.assert_allclose(served, (alone[0] + alone[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(served, together, atol=1e-5)
    differing = served_mask != mask
    assert not differing[np.abs(together - 0.4) > 1e-5].any()
