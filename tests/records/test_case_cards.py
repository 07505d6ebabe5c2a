"""Cards of cases: their numbers, their partitions, and their form as Examples."""

import json

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.records import case_cards
from tests.support import image_folders
from tests.support.conversions import convert, hecktor


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("cards")
    return convert(hecktor(root / "source"), root / "dataset")


def test_numbers_are_those_of_the_files(dataset):
    cards = {card["case_id"]: card for card in case_cards.load(dataset)}
    assert {name: card["partition"] for name, card in cards.items()} == {
        "P1": "labelled", "P2": "unlabelled", "P3": "validation", "P4": "test"
    }  # fmt: skip
    card, ct, pet = cards["P1"], image_folders.ct(0).astype(float), image_folders.pet(0)
    assert card["span"] == 0
    # The files have x, y, z voxels of 2 x 2 x 3 mm: slices are along z, rows along y.
    assert [card[f"ct/spacing_mm/{axis}"] for axis in case_cards.AXES] == [3, 2, 2]
    assert [card[f"pet/shape/{axis}"] for axis in case_cards.AXES] == [6, 12, 10]
    assert [card[f"pet/extent_mm/{axis}"] for axis in case_cards.AXES] == [18, 24, 20]
    assert (card["ct/min"], card["ct/max"]) == (ct.min(), ct.max())
    assert card["pet/max"] == pytest.approx(pet.max(), rel=1e-5)
    mask = image_folders.label() == 1  # 4 x 5 x 3 voxels of 12 cubic millimetres
    assert card["lesion/volume_ml"] == 0.72 and card["lesion/count"] == 1
    assert card["lesion/largest_extent_mm"] == 10
    body_ml = ct.size * 12 / 1000 * card["ct/body_fraction"]
    assert card["lesion/fraction"] == pytest.approx(0.72 / body_ml)
    assert card["ct/lesion/mean"] == pytest.approx(ct[mask].mean(), rel=1e-5)
    assert card["pet/lesion/mean"] == pytest.approx(pet[mask].mean(), rel=1e-5)
    assert card["pet/lesion/covered"] == 1
    # The type depends on the name alone, not on the value: whole numbers are floats, too.
    assert all(type(value) is float for name, value in card.items() if "/" in name)


def test_unlabelled_cases_have_no_lesion_feature(dataset):
    for card in case_cards.load(dataset):
        has_lesion_feature = any(case_cards.is_of_a_lesion(name) for name in card)
        assert has_lesion_feature == (card["partition"] != "unlabelled"), card["case_id"]


def test_written_examples_are_read_back(dataset, tmp_path):
    cards = case_cards.load(dataset)
    path, again = tmp_path / "Split-x/cards.gz", tmp_path / "again.gz"
    case_cards.write_split(path, cards)
    case_cards.write_split(again, cards)
    assert path.read_bytes() == again.read_bytes()
    read = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path), "GZIP")]
    assert len(read) == 4
    for example, card, back in zip(read, cards, case_cards.read_split(path)):
        features = example.features.feature
        assert set(features) == set(card) == set(back)
        assert features["case_id"].bytes_list.value[0].decode() == card["case_id"] == back["case_id"]
        assert features["span"].int64_list.value[:] == [0] and back["span"] == 0
        for name in ("ct/mean", "pet/p0.5", "ct/min"):
            assert features[name].float_list.value[0] == np.float32(card[name]) == back[name]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="cards.gz: these cards cannot be read"):
        case_cards.read_split(path)


def test_the_command_shows_them(dataset, tmp_path, capsys):
    commandline.call("semicml_tf.inspect", [str(dataset), "--nocheck", "--cards", f"--json={tmp_path / 'out.json'}"])
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if line.split()[:2] == ["P1", "labelled"]]
    assert "3 x 2 x 2" in line and line.split()[-3:-1] == ["1", "0.72"]
    (line,) = [line for line in shown.splitlines() if line.split()[:2] == ["P2", "unlabelled"]]
    assert line.split()[-3:] == ["-", "-", "-"]
    assert json.loads((tmp_path / "out.json").read_text())["cards"] == case_cards.load(dataset)


def test_missing_cards_are_refused(dataset, tmp_path):
    with pytest.raises(UserError, match="cards.json: expected the cards of a dataset's cases.*semicml_tf.convert"):
        case_cards.load(tmp_path)
    (tmp_path / "cards.json").write_text(json.dumps({"version": 0, "cards": []}))
    with pytest.raises(UserError, match="version: expected 1, got 0"):
        case_cards.load(tmp_path)
