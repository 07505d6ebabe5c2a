"""Pseudonyms: salted, stable with one map, kept beside the dataset for its owner alone."""

import hashlib
import hmac
import json
import os
import re
import stat
import unicodedata

import pytest

from semicml_tf.conversion.privacy import pseudonyms as names
from semicml_tf.conversion.privacy.pseudonyms import Pseudonyms
from semicml_tf.conversion.splitting import split
from semicml_tf.errors import UserError
from tests.support.patients import case

ID = re.compile(r"P[0-9A-F]{8}(-[0-9]+)?")
STUDIES = [case("Meier-1", "Meier"), case("Meier-2", "Meier"), case("Öztürk"), case("1")]


def _renamed(map_file, cases=STUDIES):
    """Original name to pseudonym, by case."""
    made = Pseudonyms.open(map_file).rename(cases)
    path_of = {one.images["ct"].path: one.case_id for one in cases}
    return {path_of[one.images["ct"].path]: one.case_id for one in made}


def test_ids_are_salted_hashes_and_studies_are_numbered(tmp_path):
    held = _renamed(tmp_path / "map.json")
    assert all(ID.fullmatch(name) for name in held.values()) and len(set(held.values())) == 4
    assert held["Meier-1"].endswith("-1") and held["Meier-2"] == held["Meier-1"][:-1] + "2"
    assert "-" not in held["Öztürk"] + held["1"]
    salt = json.loads((tmp_path / "map.json").read_text(encoding="utf-8"))["salt"]
    expected = hmac.new(bytes.fromhex(salt), "Öztürk".encode(), hashlib.sha256).hexdigest().upper()[:8]
    assert held["Öztürk"] == f"P{expected}" and len(salt) == 64


def test_only_names_are_changed(tmp_path):
    before = case("A", "patient a", partition="test")
    (after,) = Pseudonyms.open(tmp_path / "map.json").rename([before])
    assert after.case_id == after.patient_id == after.patient != "A"
    assert (after.images, after.label, after.partition) == (before.images, before.label, "test")


def test_cases_come_in_the_order_of_their_new_names(tmp_path):
    """The order of the old ones would tell of them."""
    made = Pseudonyms.open(tmp_path / "map.json").rename([case(f"S{number:02d}") for number in range(30)])
    order = [one.case_id for one in made]
    assert order == sorted(order) and [one.images["ct"].path.name for one in made] != sorted(
        one.images["ct"].path.name for one in made
    )


def test_the_same_map_gives_the_same_ids_and_another_gives_others(tmp_path):
    first = _renamed(tmp_path / "map.json")
    assert _renamed(tmp_path / "map.json", STUDIES[::-1]) == first
    other = _renamed(tmp_path / "other.json")
    assert not set(other.values()) & set(first.values())
    # On another machine: the file copied, another folder, a patient who is new there.
    (tmp_path / "machine").mkdir()
    copied = tmp_path / "machine" / "copied.json"
    copied.write_bytes((tmp_path / "map.json").read_bytes())
    copied.chmod(0o600)
    more = _renamed(copied, [case("Zoe"), *STUDIES[1:]])
    assert {name: more[name] for name in ("Meier-2", "Öztürk", "1")} == {
        name: first[name] for name in ("Meier-2", "Öztürk", "1")
    }


def test_a_later_study_gets_the_next_number_and_keeps_other_pseudonyms(tmp_path):
    path = tmp_path / "map.json"
    alone = _renamed(path, [case("A-1", "A")])["A-1"]
    assert _renamed(path, [case("A-0", "A"), case("A-1", "A"), case("A-2", "A")]) == {
        "A-1": alone,
        "A-0": f"{alone}-2",
        "A-2": f"{alone}-3",
    }


def test_the_two_forms_of_an_umlaut_are_one_patient(tmp_path):
    composed, parts = unicodedata.normalize("NFC", "Müller"), unicodedata.normalize("NFD", "Müller")
    assert composed != parts
    first = _renamed(tmp_path / "map.json", [case(composed)])
    assert _renamed(tmp_path / "map.json", [case(parts)])[parts] == first[composed]


def test_names_that_are_no_text_survive_the_file(tmp_path):
    odd = os.fsdecode(b"M\xfcller")
    assert _renamed(tmp_path / "map.json", [case(odd)]) == _renamed(tmp_path / "map.json", [case(odd)])


def test_a_collision_is_noticed_and_resolved_for_good(tmp_path, monkeypatch):
    real = names._hash
    monkeypatch.setattr(names, "_hash", lambda salt, patient: "ABCDEF01" + real(salt, patient)[8:])
    cases = [case(name) for name in ("A", "B", "C")]
    first = _renamed(tmp_path / "map.json", cases)
    assert len(set(first.values())) == 3 and min(map(len, first.values())) == 9
    assert sorted(map(len, first.values())) == [9, 13, 13]
    assert _renamed(tmp_path / "map.json", cases[::-1]) == first


def test_the_map_is_for_its_owner_alone_and_written_whole(tmp_path):
    old = os.umask(0)
    try:
        _renamed(tmp_path / "folder" / "map.json")
    finally:
        os.umask(old)
    path = tmp_path / "folder" / "map.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["map.json"]
    body = json.loads(path.read_text(encoding="utf-8"))
    assert {one["case"] for one in body["cases"].values()} == {"Meier-1", "Meier-2", "Öztürk", "1"}
    assert "Öztürk" in path.read_text(encoding="utf-8")  # people read it


def test_nothing_is_written_where_nothing_is_new(tmp_path):
    path = tmp_path / "map.json"
    _renamed(path)
    before = path.stat().st_mtime_ns
    _renamed(path)
    assert path.stat().st_mtime_ns == before


def test_two_conversions_at_once_share_one_salt_and_keep_all_patients(tmp_path):
    path = tmp_path / "map.json"
    first, second = Pseudonyms.open(path), Pseudonyms.open(path)  # neither finds a file
    a, b = first.rename([case("A")])[0], second.rename([case("B")])[0]
    held = _renamed(path, [case("A"), case("B")])
    assert held == {"A": a.case_id, "B": b.case_id}


def test_the_maps_place(tmp_path):
    assert names.default_map(tmp_path / "out") == tmp_path / "out.pseudonyms.json"
    assert names.default_map(f"{tmp_path}/out/") == tmp_path / "out.pseudonyms.json"
    with pytest.raises(
        UserError, match="s3://bucket/out: the map of pseudonyms stays on this machine.*--pseudonym_map"
    ):
        names.default_map("s3://bucket/out")
    (tmp_path / "out").mkdir()
    for inside in (tmp_path / "out" / "map.json", tmp_path / "out" / "deep" / "map.json"):
        with pytest.raises(UserError, match="must not be in the dataset"):
            Pseudonyms.open(inside, dataset=tmp_path / "out")
    os.symlink(tmp_path / "out", tmp_path / "link")
    with pytest.raises(UserError, match="must not be in the dataset"):
        Pseudonyms.open(tmp_path / "link" / "map.json", dataset=tmp_path / "out")
    with pytest.raises(UserError, match="map.json: the map of pseudonyms cannot be written here"):
        (tmp_path / "file").touch()
        Pseudonyms.open(tmp_path / "file" / "map.json").rename(STUDIES)


def test_a_map_that_others_can_read_is_refused(tmp_path):
    path = tmp_path / "map.json"
    _renamed(path)
    for mode in (0o644, 0o640, 0o602):
        path.chmod(mode)
        with pytest.raises(UserError, match=rf"map.json: .*mode {mode:04o}, expected 0600.*chmod 600 map.json"):
            Pseudonyms.open(path)


def _changed(change):
    def edit(path):
        body = json.loads(path.read_text(encoding="utf-8"))
        change(body)
        path.write_text(json.dumps(body), encoding="utf-8")

    return edit


def _swap_patients(body):
    one, two = list(body["cases"].values())[:2]
    one["patient"], two["patient"] = two["patient"], "somebody"


def _name_twice(body):
    name, one = next(iter(body["cases"].items()))
    body["cases"][f"{name[:9]}-9"] = one


@pytest.mark.parametrize(
    "damage,message",
    [
        (lambda path: path.write_text("{", encoding="utf-8"), "expected a map of pseudonyms, but it is not valid JSON"),
        (lambda path: path.write_text("[]", encoding="utf-8"), "its content: expected an object"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "expected a map of pseudonyms, but it is not valid JSON"),
        (lambda path: (path.unlink(), path.mkdir()), "expected a map of pseudonyms, but it cannot be read"),
        (_changed(lambda body: body.pop("salt")), "the field salt is missing"),
        (_changed(lambda body: body.update(version=2)), "version: expected 1, got 2"),
        (_changed(lambda body: body.update(salt="no hex")), "non-hexadecimal number"),
        (_changed(lambda body: body.update(salt="ab")), "the salt is too short"),
        (_changed(lambda body: body.update(salt="ab" * 32)), "was not made with this salt"),
        (_changed(lambda body: body.update(cases=[1])), "cases: expected an object"),
        (_changed(lambda body: body["cases"].update(P1={"case": "A"})), "the field cases.P1.patient is missing"),
        (_changed(lambda body: body["cases"].update(P1={"case": 3, "patient": "x"})), "cases.P1.case: .*got 3"),
        (_changed(_swap_patients), "was not made with this salt|stands for two patients"),
        (_changed(_name_twice), "a case has two pseudonyms"),
    ],
)  # fmt: skip
def test_a_broken_map_is_one_clear_line(tmp_path, damage, message):
    path = tmp_path / "map.json"
    _renamed(path)
    damage(path)
    if path.is_file():
        path.chmod(0o600)
    with pytest.raises(UserError, match=message) as caught:
        Pseudonyms.open(path)
    assert "Restore it" in caught.value.line and str(path) in caught.value.line and "\n" not in caught.value.line


def test_split_files_may_name_originals_or_pseudonyms_and_strangers_are_hidden(tmp_path):
    made = Pseudonyms.open(tmp_path / "map.json")
    renamed = made.rename(STUDIES)
    to = made.names()
    given = split.checked({"labelled": ["Meier"], "test": ["Öztürk", to["1"]], "excluded": ["Gone, Person"]})
    hidden = made.rename_split(given)
    assert hidden["labelled"] == (to["Meier-1"][:-2],) and set(hidden["test"]) == {to["Öztürk"], to["1"]}
    assert ID.fullmatch(hidden["excluded"][0]) and made.original(hidden["excluded"][0]) == "Gone, Person"
    chosen, left_out = split.cases_by_partition(hidden, renamed, source="here")
    assert [one.case_id for one in chosen["labelled"]] == [to["Meier-1"], to["Meier-2"]] and not left_out
    assert made.rename_split(hidden) == hidden
    # A case's own name, and a manifest's partitions on the renamed cases.
    assert made.rename_split(split.checked({"test": ["Meier-2"]}))["test"] == (to["Meier-2"],)


def test_folds_are_hidden_too(tmp_path):
    made = Pseudonyms.open(tmp_path / "map.json")
    made.rename([case(name) for name in "ABCD"])
    given = split.checked(
        {"validation": ["A"], "labelled": ["B", "C"], "test": ["D"], "folds": [["A"], ["B", "C"]], "fold": 0, "seed": 1}
    )
    hidden = made.rename_split(given)
    assert [sorted(map(made.original, held)) for held in hidden.folds] == [["A"], ["B", "C"]]
    assert split.checked(hidden.to_json()) == hidden
    assert not re.search(r'"[ABCD]"', json.dumps(hidden.to_json()))


def test_originals_and_pseudonyms_are_each_others_inverse(tmp_path):
    made = Pseudonyms.open(tmp_path / "map.json")
    made.rename(STUDIES)
    for name in ("Meier", "Meier-1", "Öztürk", "1"):
        assert made.original(made.pseudonym(name)) == name
    assert made.pseudonym("somebody") == made.original("somebody") == "somebody"
