"""JSON through a schema: its value, or one line that says where it is wrong."""

import dataclasses
import json
from typing import Literal

import pytest
from typing_extensions import NotRequired, TypedDict

from semicml_tf.errors import UserError
from semicml_tf.system import json_files


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    shape: tuple[int, int, int]
    volume_ml: float | None = None


@dataclasses.dataclass(frozen=True)
class Listing:
    version: Literal[1]
    cases: tuple[Case, ...]
    counts: dict[str, json_files.Positive]

    def __post_init__(self):
        if len(self.counts) > 1:
            raise ValueError("expected one count")


class Note(TypedDict):
    text: str
    number: NotRequired[int]


GOOD = {"version": 1, "cases": [{"name": "a", "shape": [1, 2, 3], "volume_ml": 2}], "counts": {"a": 1}, "more": []}


def parse(body, schema=Listing, **options):
    text = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return json_files.parse(text, schema, what="a listing", path="list.json", remedy="Make it again", **options)


def test_values_have_the_types_of_the_schema():
    assert parse(GOOD) == Listing(1, (Case("a", (1, 2, 3), 2.0),), {"a": 1})
    # A dictionary stays as it is in the file, here with a byte-order mark.
    assert parse(b'\xef\xbb\xbf{"text": "a", "more": 1}', Note) == {"text": "a", "more": 1}


@pytest.mark.parametrize(
    "change,message",
    [
        ({"version": 2}, "version: expected 1, got 2"),
        ({"cases": None}, "cases: expected a list, got null"),
        ({"counts": []}, r"counts: expected an object, got \[\]"),
        ({"cases": [{"name": 1, "shape": [1, 2, 3]}]}, r"cases\[0\].name: expected a valid string, got 1"),
        ({"cases": [{"shape": [1, 2, 3]}]}, r"the field cases\[0\].name is missing"),
        ({"cases": [{"name": "a", "shape": [1, 2]}]}, r"the field cases\[0\].shape\[2\] is missing"),
        ({"cases": [{"name": "a", "shape": [1.0, 2, 3]}]}, r"shape\[0\]: expected a valid integer"),
        ({"cases": [{"name": "a", "shape": [1, True, 3]}]}, r"shape\[1\]: expected a valid integer, got true"),
        ({"cases": [{"name": "a", "shape": "123"}]}, r'shape: expected .*, got "123"'),
        ({"cases": [{"name": "a", "shape": [1, 2, "3"]}]}, r"shape\[2\]: expected a valid integer, got \"3\""),
        ({"counts": {"a": 0}}, "counts.a: expected greater than or equal to 1, got 0"),
        ({"counts": {"a\x1b[2J": 2**60}}, r'counts\."a\\u001b\[2J": expected less than'),
        ({"counts": {"a": 1, "b": 2}}, "its content: expected one count"),
        ({"version": 2, "counts": 3}, r"version: expected 1, got 2"),
        ({"cases": 1, "counts": 3}, r"cases: expected .*, got 1 \(1 more field is wrong\)"),
    ],
)
def test_errors_name_the_field_in_one_line(change, message):
    with pytest.raises(UserError, match=rf"^list.json: expected a listing, but .*{message}.*\. Make it again\.$"):
        parse({**GOOD, **change})


@pytest.mark.parametrize(
    "text,message",
    [
        ("[" * 100_000, "nested too deeply"),
        ('{"version": 1, "version": 1}', 'the name "version" comes twice'),
        ('{"version": NaN}', "NaN is no number"),
        ('{"version": -Infinity}', "-Infinity is no number"),
        ('{"version": 1e999}', "1e999 is too large"),
        ("1" * 5000, "not valid JSON"),
        (b'"\xff"', "not valid JSON"),
        ('{"version": 1', "not valid JSON"),
        ("", "not valid JSON"),
    ],
)
def test_text_that_is_no_json_is_refused(text, message):
    with pytest.raises(UserError, match=f"^list.json: expected a listing, but .*{message}"):
        parse(text)


def test_the_size_of_files_is_limited(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(GOOD))
    read = dict(what="a listing", remedy="Make it again")
    assert json_files.read(path, Listing, **read) == parse(GOOD)
    with pytest.raises(UserError, match=r"list.json: expected a listing of at most 10 bytes, got \d+. Make"):
        json_files.read(path, Listing, max_bytes=10, **read)
    with pytest.raises(UserError, match="expected a listing, but it cannot be read"):
        json_files.read(tmp_path, Listing, **read)
    with pytest.raises(UserError, match="of at most 2 bytes, got 3"):
        parse("123", max_bytes=2)


def test_a_list_of_wrong_elements_is_one_error():
    with pytest.raises(UserError, match=r"cases\[0\]: expected .*, got 1"):
        parse({**GOOD, "cases": [1] * 100_000})
    with pytest.raises(UserError, match="20000 of its fields are wrong"):
        parse({**GOOD, "counts": dict.fromkeys(map(str, range(20_000)), 0)})
