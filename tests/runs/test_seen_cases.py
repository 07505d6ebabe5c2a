"""Beginning with a run on data that have grown: by whom it was trained on, not by a hash."""

import dataclasses
import json
import pathlib

import pytest

from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs import seen_cases
from semicml_tf.runs.run_folder import Run


def dataset(root, **partitions):
    return DatasetInfo(
        root=pathlib.Path(root),
        modalities=("ct", "pet"),
        reference_modality="ct",
        spacing_mm=(3.0, 4.0, 4.0),
        normalisation={"ct": Normalisation("hu", -200, 300), "pet": Normalisation("suv", 0, 15)},
        labels=PLAIN,
        layout="csv",
        partitions={
            name: tuple(CaseEntry(case, "x.tfrecord", place, (4, 4, 4), None) for place, case in enumerate(cases))
            for name, cases in partitions.items()
        },
        shard_sha256={},
    ).with_hash()


def run_of(folder, info, initial=(), **changes):
    """A run's folder as far as its run.json says what it has seen."""
    body = {"dataset": str(info.root), "data_hash": info.data_hash, "data": seen_cases.seen(info, initial).to_json()}
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({**body, **changes}))
    return Run(folder, str(info.root), info.data_hash, "hash", info.modalities, NetworkSpec(window=16, width=4), {})


FIRST = {"labelled": ["A", "B"], "unlabelled": ["C"], "validation": ["D"], "test": ["E"]}


def test_data_that_have_grown_may_be_trained_on(tmp_path):
    run = run_of(tmp_path / "run", dataset(tmp_path, **FIRST))
    grown = dataset(tmp_path, labelled=["A", "B", "C", "G"], unlabelled=["H"], validation=["D", "I"], test=["E", "J"])
    seen_cases.check(run, grown)
    seen = seen_cases.seen(grown, [run])
    assert seen.trained_on == ("A", "B", "C", "G", "H") and seen.validated_on == ("D", "I")
    second = run_of(tmp_path / "second", grown, [run])
    # Whoever the first of three runs has seen counts, too.
    with pytest.raises(UserError, match="has seen patients who are scored in these data: B.*--keep_split"):
        seen_cases.check(second, dataset(tmp_path, labelled=["A"], validation=["D"], test=["E", "B"]))


@pytest.mark.parametrize(
    "partitions, leaked",
    [
        ({**FIRST, "labelled": ["B"], "test": ["A", "E"]}, "A"),
        ({**FIRST, "unlabelled": [], "validation": ["C", "D"]}, "C"),
        ({**FIRST, "validation": ["F"], "test": ["D", "E"]}, "D"),
    ],
)
def test_nobody_who_was_seen_may_be_scored(tmp_path, partitions, leaked):
    run = run_of(tmp_path / "run", dataset(tmp_path, **FIRST))
    with pytest.raises(UserError, match=f"scored in these data: {leaked}. Convert"):
        seen_cases.check(run, dataset(tmp_path, **partitions))


def test_a_patient_is_known_by_another_study(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"labelled": ["P1"], "test": ["P2"]}))
    run = run_of(tmp_path / "run", dataset(tmp_path, labelled=["P1-1"], validation=["D"], test=["P2-1"]))
    (tmp_path / "split.json").write_text(json.dumps({"labelled": ["P2"], "test": ["P1"]}))
    with pytest.raises(UserError, match="scored in these data: P1[.]"):
        seen_cases.check(run, dataset(tmp_path, labelled=["P2-1"], validation=["D"], test=["P1-2"]))


def test_cases_must_be_made_alike(tmp_path):
    run = run_of(tmp_path / "run", dataset(tmp_path, **FIRST))
    other = dataset(tmp_path, **{**FIRST, "labelled": ["A", "B", "Z"]})
    finer = dataclasses.replace(other, spacing_mm=(3.0, 2.0, 2.0)).with_hash()
    with pytest.raises(UserError, match="spacing_mm of the run .*, 3,4,4, got 3,2,2"):
        seen_cases.check(run, finer)
    wider = dataclasses.replace(other, normalisation={**other.normalisation, "pet": Normalisation("suv", 0, 20)})
    with pytest.raises(UserError, match="normalisation of .* pet=suv:0:15, got .*pet=suv:0:20"):
        seen_cases.check(run, wider.with_hash())


def test_a_run_of_before_is_known_by_its_data_alone(tmp_path):
    first = dataset(tmp_path / "gone", **FIRST)
    run = run_of(tmp_path / "run", first, data=None)
    seen_cases.check(run, first)
    assert seen_cases.seen(first, [run]).trained_on == ("A", "B", "C")
    with pytest.raises(
        UserError, match="not known whom this run of an earlier version was trained on.*Put its data back"
    ):
        seen_cases.check(run, dataset(tmp_path, **{**FIRST, "labelled": ["A", "B", "Z"]}))
