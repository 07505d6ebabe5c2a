"""`training.checkpoint_manager`: what differs from the run in the folder."""

import json

import pytest

from semicml_tf.errors import UserError
from semicml_tf.labels import LabelDefinition
from semicml_tf.training.checkpoint_manager import Keeper

REGIONS = LabelDefinition({"wt": (1, 2), "tc": (2,)})


def test_a_resume_with_other_classes_names_them(tmp_path):
    plain = {"modalities": ["ct", "pet"], "data_hash": "a", "initial_run": None, "settings": {}}
    regions = plain | {"labels": REGIONS.to_json(), "data_hash": "b"}
    names = ["lesion:1 (one region)", "wt:1+2,tc:2 (regions)"]
    for before, now, (first, second) in ((plain, regions, names), (regions, plain, names[::-1])):
        (tmp_path / "run.json").write_text(json.dumps({**before, "dataset": "data", "run_hash": "c"}))
        with pytest.raises(UserError) as caught:
            Keeper(tmp_path, "another hash", True, now).position()
        assert f"begun with labels {first}, now {second}; data of hash" in caught.value.line
