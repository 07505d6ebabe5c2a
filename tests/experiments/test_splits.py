"""Labelled patients of an experiment's cells: nested draws, disjoint partitions, another draw for each seed."""

import json

import pytest

from semicml_tf.conversion.splitting import split as splits
from semicml_tf.errors import UserError
from semicml_tf.experiments.splits import base_split, drawn, incomplete_of_phantom, pool_of
from semicml_tf.experiments.study import Study
from tests.support.experiments import flagfile

BASE = splits.checked(
    {
        "labelled": ["p00", "p01"],
        "unlabelled": [f"p{number:02}" for number in range(2, 12)],
        "validation": ["v0", "v1"],
        "test": ["t0", "t1", "t2"],
        "excluded": ["x"],
    }
)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_smaller_draws_are_subsets_of_larger_draws(seed):
    labelled = [set(drawn(BASE, count, seed)["labelled"]) for count in ("2", "4", "8", "all")]
    assert [len(names) for names in labelled] == [2, 4, 8, 12]
    assert all(few < more for few, more in zip(labelled, labelled[1:]))


@pytest.mark.parametrize("labelled", ["1", "5", "12", "all"])
def test_each_patient_of_the_pool_is_in_one_partition_and_the_others_stay(labelled):
    split = drawn(BASE, labelled, 3)
    assert sorted([*split["labelled"], *split["unlabelled"]]) == list(pool_of(BASE))
    assert all(split[name] == BASE[name] for name in ("validation", "test", "excluded"))
    assert splits.checked(split.to_json()) == split


def test_the_draw_depends_on_the_seed_only():
    # Another split of the same pool into labelled and unlabelled patients is the same pool.
    other = splits.checked({**BASE, "labelled": BASE["unlabelled"], "unlabelled": BASE["labelled"]})
    assert drawn(other, "4", 5) == drawn(BASE, "4", 5)
    assert len({drawn(BASE, "4", seed)["labelled"] for seed in range(5)}) == 5


def test_patients_without_all_modalities_are_labelled_last(tmp_path):
    incomplete = set(pool_of(BASE)[::2])
    for seed in range(3):
        labelled = drawn(BASE, "6", seed, incomplete)["labelled"]
        assert not incomplete & set(labelled) and incomplete & set(drawn(BASE, "7", seed, incomplete)["labelled"])
    study = Study((str(flagfile(tmp_path, "--incomplete_fraction=0.5")),))
    unlabelled = base_split(study, None, None)["unlabelled"]
    assert incomplete_of_phantom(study) < set(unlabelled) and len(incomplete_of_phantom(study)) == len(unlabelled) // 2


def test_more_labelled_patients_than_the_pool_has_are_refused():
    with pytest.raises(UserError, match="at most 12 labelled patients.*got 13"):
        drawn(BASE, "13", 0)


def test_the_base_split_of_a_phantom_is_known_before_it_is_made(tmp_path):
    from semicml_tf import commandline

    study = Study((str(flagfile(tmp_path)),))
    commandline.call("semicml_tf.phantom", [*study.words, f"--output={tmp_path / 'volumes'}"])
    assert base_split(study, None, None) == splits.read(tmp_path / "volumes" / "split.json")


def test_the_base_split_of_volumes_is_given_or_lies_beside_them(tmp_path):
    study, source = Study((str(flagfile(tmp_path)),)), tmp_path / "volumes"
    source.mkdir()
    with pytest.raises(UserError, match="--base_split"):
        base_split(study, source, None)
    (source / "split.json").write_text(json.dumps(BASE.to_json()))
    assert base_split(study, source, None) == BASE
    split_file = tmp_path / "given.json"
    split_file.write_text(json.dumps({"labelled": ["a"], "validation": ["b"], "test": ["c"]}))
    assert base_split(study, source, str(split_file))["labelled"] == ("a",)
    of_study = Study((str(flagfile(tmp_path, f"--split={split_file}")),))
    assert base_split(of_study, source, None)["labelled"] == ("a",)
    split_file.write_text(json.dumps({"labelled": ["a"], "validation": ["b"]}))
    with pytest.raises(UserError, match="expected patients in 'test'"):
        base_split(study, source, str(split_file))
