"""Which runs a training may begin with, and what its run.json records of them."""

import dataclasses
import json

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.labels import LabelDefinition
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs import initialisation, seen_cases
from semicml_tf.runs.config import TrainConfig
from semicml_tf.runs.initialisation import EncoderSource, Initialisation
from semicml_tf.runs.run_folder import Run, initial_weights_text, read_record, weights_file
from tests.support.run_folders import SPEC, make_run, random_weights

CASES = {"labelled": ["a"], "unlabelled": ["b"], "validation": ["c"], "test": ["d"]}
OTHER_CASES = {"labelled": ["e"], "validation": ["f"], "test": ["g"]}
MR = Normalisation.parse("percentile:1:99")


def partitions(cases):
    return {
        name: tuple(CaseEntry(one, "labelled-00000-of-00001.tfrecord", 0, (4, 4, 4), None) for one in names)
        for name, names in cases.items()
    }


def run_of(root, cases=CASES, initial=None, **body) -> Run:
    """A run of random CT and PET networks, which has seen its cases and those of its initial runs."""
    folder = make_run(root, random_weights(1), data={"partitions": partitions(cases)}, **body)
    info = DatasetInfo.load(root / "data")
    own = {"data": seen_cases.seen(info, initial.runs if initial else ()).to_json()}
    own |= initial.record(root / "new") if initial else {}
    (folder / "run.json").write_text(json.dumps(json.loads((folder / "run.json").read_text()) | own))
    return Run.load(folder)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run; to be read only."""
    return run_of(tmp_path_factory.mktemp("first"))


def data(run, cases=OTHER_CASES, **changes) -> DatasetInfo:
    """Data that differ from a run's in these cases and fields."""
    info = DatasetInfo.load(run.dataset)
    return dataclasses.replace(info, partitions=partitions(cases), **changes).with_hash()


def whole(run, info) -> Initialisation:
    return Initialisation.load(str(run.folder), (), info)


def encoders(run, info, *texts) -> Initialisation:
    return Initialisation.load(None, texts or (str(run.folder),), info)


def test_networks_that_fit_are_taken_from_other_data(run, tmp_path):
    info = data(run)
    initial = whole(run, info)
    initial.check(info, SPEC)
    entry = initial.record(tmp_path)["initialisation"]
    assert entry["earlier"] == [] and entry["sources"]["pet"] == {
        "run": str(run.folder),
        "modality": "pet",
        "run_hash": "abc",
        "data_hash": run.data_hash,
        "weights_sha256": run.weights_hash("pet"),
    }
    assert seen_cases.seen(info, initial.runs).trained_on == ("a", "b", "e")


@pytest.mark.parametrize(
    "changes, spec, values",
    [
        ({"spacing_mm": (3.0, 4.0, 4.0)}, SPEC, "spacing_mm 3,4,4, got spacing_mm 3,2,2"),
        ({"crop": "body"}, SPEC, "crop body, got crop none"),
        ({"labels": LabelDefinition.plain((1,))}, SPEC, "label_values 1.*, got label_values 1,2"),
        (
            {"normalisation": {"ct": Normalisation("hu", -150, 250), "pet": Normalisation("suv", 0, 9)}},
            SPEC,
            "normalisation .*pet=suv:0:9, got .*pet=suv:0:12",
        ),
        (
            {"modalities": ("ct",), "normalisation": {"ct": Normalisation("hu", -150, 250)}},
            SPEC,
            "modalities ct, got modalities ct,pet",
        ),
        ({}, dataclasses.replace(SPEC, width=4, levels=3), "width 4, levels 3, got width 2, levels 2"),
        ({}, dataclasses.replace(SPEC, name="gated"), "network gated, got network unet"),
    ],
)
def test_each_difference_is_refused_with_both_values(run, changes, spec, values):
    info = data(run, **changes)
    with pytest.raises(UserError, match=values) as caught:
        whole(run, info).check(info, spec)
    assert "--init_from" in caught.value.line


def test_a_patient_whom_any_earlier_run_was_trained_on_may_not_be_scored(run, tmp_path):
    info = data(run)
    second = run_of(tmp_path / "second", OTHER_CASES, whole(run, info))
    third = run_of(tmp_path / "third", {"labelled": ["h"]}, encoders(second, info))
    assert [(one["part"], one["sources"]["ct"]["run"]) for one in third.initialisation] == [
        ("encoders", str(second.folder)),
        ("networks", str(run.folder)),
    ]
    assert initial_weights_text(read_record(third.folder)).startswith("encoders of run abc (data ")
    leak = data(run, {"labelled": ["i"], "validation": ["b"], "test": ["a", "c"]})
    for initial in (whole(third, leak), encoders(third, leak)):
        with pytest.raises(UserError, match="patients who are scored in these data: a, b, c[.]"):
            initial.check(leak, SPEC)


def test_encoders_of_other_classes_and_decoders_are_taken(run):
    labels = LabelDefinition.parse(("core:1", "whole:1+2"))
    info = data(run, labels=labels)
    spec = dataclasses.replace(SPEC, output_channels=2, window=64)
    initial = encoders(run, info)
    initial.check(info, spec)
    networks = initial.networks(spec)
    student = catalogue.build(spec, name="ct", seed=7)
    before = {weight.path: weight.numpy() for weight in student.weights}
    student.take_encoder(networks["ct"])
    trained = {weight.path: weight.numpy() for weight in run.network("ct").weights}
    for weight in student.weights:
        name = weight.path
        expected = trained[name] if "encoder" in name else before[weight.path]
        np.testing.assert_array_equal(weight.numpy(), expected, err_msg=name)


def test_an_encoder_is_named_by_run_and_modality(run):
    info = data(run, modalities=("ct", "mr"), normalisation={"ct": Normalisation("hu", -150, 250), "mr": MR})
    with pytest.raises(UserError, match="modality mr for the encoder of mr, got a run with ct, pet.*mr=.*:ct"):
        encoders(run, info)
    initial = encoders(run, info, f"mr={run.folder}:pet", f"ct={run.folder}")
    initial.check(info, SPEC)
    assert {name: of for name, (_, of) in initial.sources.items()} == {"mr": "pet", "ct": "ct"}
    with pytest.raises(UserError, match="modality of the dataset.*ct, mr, got t2"):
        encoders(run, info, f"t2={run.folder}:ct")
    wide = data(run, normalisation={"ct": Normalisation("hu", -150, 300), "pet": Normalisation("suv", 0, 12)})
    with pytest.raises(UserError, match="normalisation of ct hu:-150:300, got normalisation of ct hu:-150:250"):
        encoders(run, wide).check(wide, SPEC)
    with pytest.raises(UserError, match="width 4, got width 2"):
        encoders(run, info, f"mr={run.folder}:pet").check(info, dataclasses.replace(SPEC, width=4))


@pytest.mark.parametrize(
    "text, source",
    [
        ("runs/a", ("", "runs/a", "")),
        ("ct=runs/a", ("ct", "runs/a", "")),
        ("ct=runs/a:pet", ("ct", "runs/a", "pet")),
        ("ct=runs/a:1", ("ct", "runs/a:1", "")),
        ("./x=1/a", ("", "./x=1/a", "")),
    ],
)
def test_the_elements_of_the_flag(text, source):
    assert dataclasses.astuple(EncoderSource.parse(text)) == source
    assert str(EncoderSource.parse(text)) == text


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"init_from": "a", "init_encoder_from": ("b",)}, "--init_from or --init_encoder_from, got both"),
        ({"init_encoder_from": ("a", "b")}, "once per modality, got a, b"),
        ({"init_encoder_from": ("ct=a", "ct=b")}, "once per modality, got ct=a, ct=b"),
        ({"init_encoder_from": ("ct=",)}, "expected the folder of a run"),
    ],
)
def test_options_that_contradict_each_other(options, problem):
    with pytest.raises(UserError, match=problem):
        TrainConfig(dataset="data", output="run", **options)


def test_a_network_without_an_encoder_is_refused(run, monkeypatch):
    monkeypatch.setitem(catalogue.NETWORKS, "plain", catalogue.Entry("none", "declares no features"))
    ((problem, _),) = initialisation.problems(None, ("a",), "plain")
    assert problem == "expected a --network that declares its encoder for --init_encoder_from, got plain"
    info, of_plain = data(run), dataclasses.replace(run, spec=dataclasses.replace(SPEC, name="plain"))
    with pytest.raises(UserError, match="network with an encoder, unet, got network with an encoder, plain"):
        Initialisation("encoders", {"ct": (of_plain, "ct")}).check(info, SPEC)


def test_weights_that_cannot_be_used_are_refused(run, tmp_path):
    other = run_of(tmp_path)
    info, path = data(other), weights_file(other.folder, "ct")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="these weights cannot be read"):
        whole(other, info).networks(SPEC)
    values = random_weights(1)["ct"]
    values[0][0] = np.nan
    np.savez(path, **{f"{index:04d}": value for index, value in enumerate(values)})
    with pytest.raises(UserError, match="weights of the network of ct are not finite"):
        encoders(other, info).networks(SPEC)
    broken = json.loads((other.folder / "run.json").read_text())
    broken["initialisation"] = {"part": "all", "sources": {}, "earlier": []}
    (other.folder / "run.json").write_text(json.dumps(broken))
    with pytest.raises(UserError, match="initialisation.part"):
        whole(other, info)


def test_encoders_of_other_layers_are_refused_by_name():
    one, other = (catalogue.build(NetworkSpec("unet", 32, width, 1), name="ct") for width in (2, 3))
    with pytest.raises(ValueError, match="weights of layer encoder0a_conv is .*3.*, not .*2"):
        one.take_encoder(other)
    pooled = catalogue.build(SPEC, name="ct")
    with pytest.raises(ValueError, match="the encoder has 13 layers, not 6"):
        one.take_encoder(pooled)


def test_a_run_that_resumes_keeps_the_hashes_of_its_beginning(run, tmp_path):
    recorded = whole(run, data(run)).record(tmp_path)
    recorded["initialisation"]["sources"]["ct"]["weights_sha256"] = "before"
    body = json.loads((run.folder / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(body | recorded))
    assert whole(run, data(run)).record(tmp_path) == recorded
