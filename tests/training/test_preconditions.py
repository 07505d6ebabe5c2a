"""What is checked of settings and data before a training begins."""

import pathlib

import pytest

from semicml_tf.errors import UserError
from semicml_tf.labels import PLAIN
from semicml_tf.records.dataset import CaseEntry, DatasetInfo
from semicml_tf.runs.config import TrainConfig
from semicml_tf.training import preconditions
from semicml_tf.training.distributed.cluster import ALONE


def _info(modalities, labelled: int) -> DatasetInfo:
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
            name: tuple(CaseEntry(f"{name}{index}", "shard", index, (4, 4, 4), 1) for index in range(count))
            for name, count in counts.items()
        },
        shard_sha256={},
    )


def _check(modalities, labelled, **options):
    config = TrainConfig(dataset="DATASET", output="RUN", dry_run=True, **options)
    return preconditions.check(config, _info(modalities, labelled), ALONE, ALONE)


def test_a_method_with_mutual_terms_needs_two_modalities_and_two_labelled_patients():
    assert _check(("t1", "t1ce", "t2", "flair"), 2) == (["labelled", "unlabelled", "validation"], 0)
    with pytest.raises(UserError, match="at least 2 modalities for semi_cml, got ct.*mean_teacher"):
        _check(("ct",), 2)
    with pytest.raises(UserError, match="at least 2 labelled patients with ct for semi_cml, prel, got 1"):
        _check(("ct", "pet"), 1)


def test_single_network_methods_take_one_modality_and_warn_of_one_labelled_patient(capsys):
    assert _check(("ct",), 2, method=("supervised",)) == (["labelled", "validation"], 0)
    assert capsys.readouterr().out == ""
    _check(("ct", "pet"), 1, method=("mean_teacher",))
    assert capsys.readouterr().out.splitlines() == [
        f"warning: 1 labelled patient with {name}: its network will hardly generalise" for name in ("ct", "pet")
    ]
