"""Parts of the pipeline that need TFX and no run: folders in stores, and whom a candidate is compared with."""

import itertools
import types

import pytest

pytest.importorskip("tfx", reason="needs the environment of requirements/tfx.lock")

from tfx.types.standard_artifacts import InfraBlessing, Model, ModelBlessing, PushedModel

from pipelines.components import folders
from pipelines.components.latest_blessed import LatestOtherBlessed
from pipelines.components.model_publisher import _reason_against
from semicml_tf.errors import UserError


def _artefact(uri):
    return types.SimpleNamespace(uri=uri, type_name="Model")


def test_what_lies_in_a_store_is_sent_there_and_fetched_again():
    store = _artefact("ram://store/model/7")
    with folders.written(store) as folder:
        (folder / "checkpoints").mkdir()
        (folder / "run.json").write_text("{}")
        (folder / "checkpoints" / "best.npz").write_bytes(b"\0weights")
    assert not folder.exists()
    with folders.read(store) as fetched:
        assert (fetched / "run.json").read_text() == "{}"
        assert (fetched / "checkpoints" / "best.npz").read_bytes() == b"\0weights"
    assert not fetched.exists()


def test_nothing_is_sent_by_a_step_that_fails():
    from tfx.dsl.io import fileio

    with pytest.raises(ValueError), folders.written(_artefact("ram://store/model/8")) as folder:
        (folder / "run.json").write_text("{}")
        raise ValueError
    assert not fileio.exists("ram://store/model/8/run.json")


def test_a_local_artefact_is_used_where_it_lies_and_missed_by_name(tmp_path):
    with folders.written(_artefact(str(tmp_path / "a"))) as folder:
        assert folder == tmp_path / "a" and folder.is_dir()
    with folders.read(_artefact(f"file://{tmp_path / 'a'}")) as folder:
        assert folder == tmp_path / "a"
    with pytest.raises(UserError, match="the Model of an earlier run, but it is missing.*--nocache"):
        with folders.read(_artefact(str(tmp_path / "b"))):
            pass


def _model(number):
    model = Model()
    model.uri, model.id = f"/models/{number}", number
    return model


def _blessing(number, modality, blessed=1):
    blessing = ModelBlessing()
    blessing.set_int_custom_property("current_model_id", number)
    blessing.set_int_custom_property("blessed", blessed)
    blessing.set_string_custom_property("modality", modality)
    return blessing


_ids = itertools.count(100)


def _pushed(number, modality, pushed=1):
    artefact = PushedModel()
    artefact.id = next(_ids)
    artefact.set_int_custom_property("model_id", number)
    artefact.set_int_custom_property("pushed", pushed)
    artefact.set_string_custom_property("modality", modality)
    return artefact


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (9, [5]),  # not 6, which the gate held back, 7, whose ct network was refused, nor 8, blessed for pet alone
        (5, [3]),  # a candidate from the cache is not compared with itself
        (3, [5]),  # one of an older delivery is compared with what was blessed since
    ],
)
def test_a_candidate_is_compared_with_the_latest_other_that_was_blessed_for_its_modality(candidate, expected):
    given = {
        "candidate": [_model(candidate)],
        "model": [_model(number) for number in (7, 3, 5, 6, 8, 9)],
        "blessing": [
            _blessing(3, "ct"),
            _blessing(5, "ct"),
            _blessing(6, "ct"),
            _blessing(7, "ct", blessed=0),
            _blessing(7, "pet"),
            _blessing(8, "pet"),
        ],
        "pushed": [
            *(_pushed(number, "ct") for number in (3, 5)),
            _pushed(6, "ct", pushed=0),
            *(_pushed(number, "pet") for number in (6, 7, 8)),
        ],
    }
    found = LatestOtherBlessed(modality="ct").resolve_artifacts(None, given)
    assert [model.id for model in found["model"]] == expected
    assert LatestOtherBlessed(modality="t1").resolve_artifacts(None, given)["model"] == []


def test_the_last_published_is_not_always_the_last_trained():
    given = {
        "candidate": [_model(9)],
        "model": [_model(3), _model(5), _model(9)],
        "blessing": [_blessing(3, "ct"), _blessing(5, "ct")],
        "pushed": [_pushed(3, "ct"), _pushed(5, "ct"), _pushed(3, "ct")],
    }
    found = LatestOtherBlessed(modality="ct").resolve_artifacts(None, given)
    assert [model.id for model in found["model"]] == [3]


@pytest.mark.parametrize(
    ("blessed", "served", "why"),
    [(1, 1, ""), (0, 1, "not blessed: too poor"), (1, 0, "cannot be served: status"), (0, 0, "not blessed: too poor")],
)
def test_reasons_against_publication(blessed, served, why):
    blessing, infra = ModelBlessing(), InfraBlessing()
    blessing.set_int_custom_property("blessed", blessed)
    blessing.set_string_custom_property("blessing_message", "too poor")
    infra.set_int_custom_property("blessed", served)
    infra.set_string_custom_property("failed_checks", "status")
    assert _reason_against(blessing, infra) == why
