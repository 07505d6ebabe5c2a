"""What is checked of settings and data before a training begins."""

import pathlib

import pytest

from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs.config import TrainConfig
from semicml_tf.training import preconditions
from semicml_tf.training.distributed.cluster import ALONE


def _info(modalities, labelled: int, only: dict[str, tuple[str, ...]]) -> DatasetInfo:
    counts = {"labelled": labelled, "unlabelled": 2, "validation": 1}
    return DatasetInfo(
        root=pathlib.Path("DATASET"),
        modalities=modalities,
        reference_modality=modalities[0],
        spacing_mm=(1.0, 1.0, 1.0),
        normalisation={},
        labels=PLAIN,
        layout="csv",
        partitions={
            name: tuple(
                CaseEntry(f"{name}{index}", "shard", index, (4, 4, 4), 1, only.get(f"{name}{index}", ()))
                for index in range(count)
            )
            for name, count in counts.items()
        },
        shard_sha256={},
    )


def _check(modalities, labelled, only=None, **options):
    config = TrainConfig(dataset="DATASET", output="RUN", dry_run=True, **options)
    return preconditions.check(config, _info(modalities, labelled, only or {}), ALONE, ALONE)


def test_a_method_with_mutual_terms_needs_two_modalities_and_two_labelled_patients():
    data = _check(("t1", "t1ce", "t2", "flair"), 2)
    assert data == preconditions.CheckedData(["labelled", "unlabelled", "validation"], left_out=0, incomplete=False)
    with pytest.raises(UserError, match="at least 2 modalities for semi_cml, got ct.*mean_teacher"):
        _check(("ct",), 2)
    with pytest.raises(UserError, match="at least 2 labelled patients with ct for semi_cml, prel, got 1"):
        _check(("ct", "pet"), 1)


def test_single_network_methods_take_one_modality_and_warn_of_one_labelled_patient(capsys):
    assert _check(("ct",), 2, method=("supervised",)).partitions == ["labelled", "validation"]
    assert capsys.readouterr().out == ""
    _check(("ct", "pet"), 1, method=("mean_teacher",))
    assert capsys.readouterr().out.splitlines() == [
        f"warning: 1 labelled patient with {name}: its network will hardly generalise" for name in ("ct", "pet")
    ]


CT, PET = ("ct",), ("pet",)
# What each case has, and the one line that refuses the data.
REFUSED = {
    "a modality with one labelled patient": ({"labelled0": CT}, {}, "at least 2 labelled patients with pet.*got 1"),
    "a modality with no labelled patient": (
        {"labelled0": CT, "labelled1": CT},
        {"method": ("supervised",)},
        "expected a labelled patient with pet, but none of the 2",
    ),
    "no pair in the unlabelled stream": (
        {"unlabelled0": CT, "unlabelled1": PET},
        {"unlabelled_partitions": ("unlabelled",)},
        "expected an unlabelled patient with two modalities for semi_cml, prel",
    ),
    "a modality that no unlabelled patient has": (
        {"unlabelled0": CT, "unlabelled1": CT},
        {"unlabelled_partitions": ("unlabelled",), "method": ("mean_teacher",)},
        "expected an unlabelled patient with pet",
    ),
    "a modality that no validation patient has": ({"validation0": PET}, {}, "expected a validation patient with ct"),
    "nobody left": (
        {"unlabelled0": CT, "unlabelled1": PET},
        {"unlabelled_partitions": ("unlabelled",), "incomplete_cases": "drop"},
        "expected a case with ct and pet in unlabelled, but all 2",
    ),
}


@pytest.mark.parametrize("only, options, match", REFUSED.values(), ids=REFUSED)
def test_data_that_cannot_train_are_refused(only, options, match):
    with pytest.raises(UserError, match=match):
        _check(("ct", "pet"), 2, only, **options)


def test_a_pair_without_patients_is_a_warning(capsys):
    only = {
        f"{name}{index}": ("ct", other)
        for name in ("labelled", "unlabelled")
        for index, other in enumerate(("pet", "mr", "pet", "mr"))
    }
    data = _check(("ct", "pet", "mr"), 4, only)
    assert data.incomplete and data.left_out == 0
    assert "warning: no unlabelled patient has pet and mr: their mutual terms are 0" in capsys.readouterr().out
