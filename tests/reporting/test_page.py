"""The report's page, parsed without a browser."""

import base64
import gzip
import hashlib
import html.parser
import json
import pathlib
import re
import shlex
import shutil

import numpy as np
import pytest

from semicml_tf.errors import UserError
from semicml_tf.reporting import kept_images, page, run_facts, slice_pictures, viewer
from semicml_tf.reporting.page import LARGEST_BYTES
from tests.support import report_runs

HOSTILE = '<script>alert("x")</script>&\'"><img src=http://evil.example/x>'
NAMES = [HOSTILE, "b", "c", "d", *(f"p{number:02d}" for number in range(14))]


def _dice(names, shift=0.0):
    return {
        "ct": {name: round(0.9 - 0.04 * place + shift, 3) for place, name in enumerate(names)},
        "pet": {name: round(0.95 - 0.03 * place + shift, 3) for place, name in enumerate(names)},
    }


class Parsed(html.parser.HTMLParser):
    """A page's elements in order."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.scripts: list[tuple[dict, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif not self.open or self.open[-1] != "style":
            self.texts.append(data)

    def identifiers(self, tag):
        return [given["id"] for name, given in self.elements if name == tag and "id" in given]

    def block(self, identifier):
        return next(body for given, body in self.scripts if given.get("id") == identifier)

    @property
    def text(self):
        return " ".join(self.texts)


def _build(*folders, **options):
    runs = run_facts.load_all(folders, "test")
    return page.build(runs, command="python -m semicml_tf.report RUN", **options)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    dice = _dice(NAMES)
    dice["ct"][NAMES[-1]] = dice["pet"][NAMES[-1]] = 0.0  # missed by both
    return report_runs.write(tmp_path_factory.mktemp("report") / "run", dice)


@pytest.fixture(scope="module")
def made(run):
    return _build(run)


@pytest.fixture(scope="module")
def parsed(made):
    return Parsed(made.decode("utf-8"))


def test_the_page_has_every_section_and_links_to_each(parsed):
    sections = ["summary", "failures", "patients", "gap", "curves", "calibration", "cases", "policy", "provenance"]
    assert parsed.identifiers("section") == sections
    links = [given["href"] for tag, given in parsed.elements if tag == "a" and given["href"].startswith("#")]
    assert links[: len(sections)] == [f"#{name}" for name in sections]
    known = {given["id"] for _, given in parsed.elements if "id" in given}
    assert {link[1:] for link in links} <= known


def test_every_patient_has_a_card_in_the_order_of_the_ranks(parsed):
    cards = parsed.identifiers("article")
    assert cards == [f"run0-case{place}" for place in range(1, len(NAMES) + 1)]
    headings = [text for text in parsed.texts if re.match(r"\d+\. ", text)]
    # Scores fall with the place in NAMES, and the last one was missed.
    assert headings == [f"{place}. {name}" for place, name in enumerate(reversed(NAMES), start=1)]
    assert sum(tag == "img" for tag, _ in parsed.elements) == 5 * len(NAMES)


def test_the_slice_with_the_most_errors_is_shown_if_it_is_another_slice(tmp_path):
    folder = report_runs.write(tmp_path / "run", _dice(["a", "b"]))
    cases = folder / "evaluation" / "test" / "cases"
    shutil.copy(cases / "0000" / "slice.npz", cases / "0000" / "errors.npz")
    index = json.loads((cases / "index.json").read_text())
    for entry in index["cases"]:
        assert entry["error_slice_index"] is None
        entry["error_slice_index"] = 1  # of the other patient, the file is gone
    (cases / "index.json").write_text(json.dumps(index))
    parsed = Parsed(_build(folder).decode())
    assert sum(tag == "img" for tag, _ in parsed.elements) == 2 * 5 + 2
    assert {"ct, slice 2, most errors", "pet, slice 2, most errors"} <= set(parsed.texts)


def test_text_from_files_never_becomes_markup(made, parsed):
    assert HOSTILE not in made.decode() and HOSTILE in parsed.text
    assert [given for tag, given in parsed.elements if tag == "img" and "evil" in given["src"]] == []
    assert not any("alert" in body for given, body in parsed.scripts if given.get("type") is None)
    assert {entry["case"] for entry in json.loads(parsed.block("viewer-cases"))} >= {HOSTILE}


def test_nothing_is_loaded_from_anywhere(made, parsed):
    for tag, given in parsed.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert re.match(r"data:|#", given.get(name, "#")), (tag, given[name])
    policy = next(given["content"] for tag, given in parsed.elements if given.get("http-equiv"))
    assert "default-src 'none'" in policy and "http" not in policy
    style = made.decode().split("<style>")[1].split("</style>")[0]
    assert "url(" not in style and "@import" not in style


def test_the_viewer_has_the_ten_worst_and_the_five_best_and_their_files(parsed):
    entries = json.loads(parsed.block("viewer-cases"))
    assert [entry["place"] for entry in entries] == [*range(1, 11), *range(14, 19)]
    openers = [given["data-case"] for tag, given in parsed.elements if tag == "button" and given.get("class") == "open"]
    assert openers == [entry["key"] for entry in entries]
    for entry in entries:
        keys = [*entry["truths"], *(modality["image"] for modality in entry["modalities"])]
        keys += [
            key for modality in entry["modalities"] for name in ("masks", "probabilities") for key in modality[name]
        ]
        for key in keys:
            assert gzip.decompress(base64.b64decode(parsed.block(f"volume-{key}")))[344:347] == b"n+1"
    assert [modality["name"] for modality in entries[0]["modalities"]] == ["ct", "pet"]
    one = report_runs.record("x", 0)
    inside = one.grid.affine @ [*(size / 2 for size in one.grid.shape), 1]
    assert entries[0]["focus_mm"] == pytest.approx(inside[:3], abs=6)


def test_the_bundled_viewer_has_the_hash_of_its_note():
    note, source = json.loads(viewer.asset("niivue/source.json")), viewer.niivue_source()
    assert hashlib.sha256(source.encode()).hexdigest() == note["sha256"]
    # It stands within a script element, whose hash the page's policy names: a browser must find it unchanged.
    assert "</script" not in source.lower() and "<!--" not in source and "\r" not in source
    assert "Niivue" in viewer.asset("niivue/LICENSE")


def test_tables_can_be_sorted_by_numbers(parsed):
    heads = [given for tag, given in parsed.elements if tag == "th" and given.get("scope") == "col"]
    assert heads and all(given["aria-sort"] == "none" and given["data-kind"] in ("number", "text") for given in heads)
    cells = [given for tag, given in parsed.elements if tag == "td" and given.get("class") == "number"]
    keys = [float(given["data-key"]) for given in cells if "data-key" in given]
    assert len(keys) > 50


def test_missed_patients_are_listed_by_name(parsed):
    where = parsed.texts.index("missed: a lesion, and an empty prediction")
    assert NAMES[-1] in parsed.texts[where + 1]


def test_the_gap_before_and_after_is_read_from_the_history(parsed):
    assert {"+0.300", "+0.100"} <= set(parsed.texts)  # pet less ct before the stage, and at its end


def test_the_gap_is_read_from_the_report_on_relearning_if_present(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    bins = [{"low": 0.0, "high": 0.1, "count": 9, "mean_label": 0.05, "observed": 0.2}]
    row = {"when": "before", "label": "pet", "patients": 3, "reliability": bins, "ece": 0.1234, "brier": 0.2}
    body = {
        "report_version": 1,
        "command": "python -m semicml_tf.diagnose RUN relearning",
        "taught": {"teacher": "pet"},
        "gap": [{"when": "before", "dice": {"ct": 0.11, "pet": 0.55}, "gap": 0.44}],
        "calibration": {"rows": [row, {**row, "when": "after", "ece": None}]},
    }
    (copy / "evaluation" / "relearning").mkdir()
    (copy / "evaluation" / "relearning" / "report.json").write_text(json.dumps(body))
    text = Parsed(_build(copy).decode()).text
    assert "+0.440" in text and "report on re-learning" in text
    assert "0.1234" in text and "Teachers' labels against the hidden truth" in text


def test_the_page_shows_commands_seeds_and_hashes(parsed):
    for expected in ("python -m semicml_tf.train '--dataset=some where'", "a" * 64, "d" * 64, "--seed=7"):
        assert expected in parsed.text
    assert parsed.texts[parsed.texts.index("seed") + 1] == "7"


def test_the_same_files_give_the_same_page(run, made):
    assert _build(run) == made


def test_images_can_be_left_out(run):
    parsed = Parsed(_build(run, images=False).decode())
    assert not any(tag in ("img", "canvas") for tag, _ in parsed.elements)
    assert not any(given.get("id") for given, _ in parsed.scripts)
    assert len(parsed.identifiers("article")) == len(NAMES)


def test_the_page_keeps_its_largest_size_and_leaves_out_the_best_first(run, made):
    def shown(largest):
        body = _build(run, largest_bytes=largest)
        assert len(body) <= largest
        text = body.decode()
        block = re.search('id="viewer-cases">(.*?)</script>', text).group(1)
        return [entry["place"] for entry in json.loads(block)], text

    assert LARGEST_BYTES == 50_000_000 and len(made) < LARGEST_BYTES
    volumes = sum(map(len, re.findall('id="volume-.*?</script>', made.decode())))
    places, text = shown(len(made) - volumes // 15)
    # All worst patients, and the best patients without those of lower DSC.
    assert places == [*range(1, 11), *range(places[10], 19)] and places[10] > 14
    assert "Left out to limit the size of the page" in text
    places, _ = shown(len(made) - volumes * 12 // 15)
    assert places == list(range(1, len(places) + 1)) and 0 < len(places) < 10
    with pytest.raises(UserError, match="expected at most 0.0 MB"):
        _build(run, largest_bytes=10_000)


def test_an_evaluation_without_images_gives_a_page_with_a_note(tmp_path):
    folder = report_runs.write(tmp_path / "run", _dice(["a", "b"]), images=None)
    parsed = Parsed(_build(folder).decode())
    assert (
        "This evaluation of an earlier version kept no images" in parsed.text
        and "semicml_tf.evaluate --run=" in parsed.text
    )
    assert not any(tag in ("img", "canvas") for tag, _ in parsed.elements)
    assert parsed.identifiers("article") == ["run0-case1", "run0-case2"]


def test_a_run_without_evaluation_is_named_with_the_command_to_run(run, tmp_path):
    folder = report_runs.write(tmp_path / "fresh", {}, evaluated=False)
    parsed = Parsed(_build(run, folder).decode())
    assert f"run python -m semicml_tf.evaluate --run={shlex.quote(str(folder))}" in parsed.text
    assert "None of the runs was evaluated" in Parsed(_build(folder).decode()).text


def test_the_annotation_curve_needs_runs_with_several_numbers_of_labelled_patients(tmp_path):
    few = report_runs.write(tmp_path / "few", _dice(["a", "b"]), labelled=2)
    many = report_runs.write(tmp_path / "many", _dice(["a", "b"], 0.03), labelled=8)
    same = report_runs.write(tmp_path / "same", _dice(["a", "b"], 0.02), labelled=2)
    assert "cost" not in Parsed(_build(few, same).decode()).identifiers("section")
    parsed = Parsed(_build(few, many, same).decode())
    assert "cost" in parsed.identifiers("section")
    # ct: 0.88 and 0.90 with 2 labelled patients, 0.91 with 8.
    assert any("semi_cml then prel, 2 labelled: mean 0.890" in text for text in parsed.texts)
    assert any("semi_cml then prel, 8 labelled: mean 0.910" in text for text in parsed.texts)


def test_the_viewer_shows_the_masks_that_were_scored(tmp_path):
    folder = report_runs.write(tmp_path / "run", _dice(["a"]))
    parsed = Parsed(_build(folder).decode())
    (entry,) = json.loads(parsed.block("viewer-cases"))
    raw = [
        gzip.decompress(base64.b64decode(parsed.block(f"volume-{modality['masks'][0]}")))
        for modality in entry["modalities"]
    ]
    assert all(np.frombuffer(one, "<f4", 2, 112).tolist() == [1.0, 0.0] for one in raw)
    answers = report_runs.answers(report_runs.record("a", 0), 0, {"ct": 0.9, "pet": 0.95})
    for mask, name in zip(raw, report_runs.MODALITIES, strict=True):
        assert np.array_equal(np.frombuffer(mask, np.uint8, offset=352), answers[name].masks.ravel())


def test_equal_volumes_of_several_runs_are_in_the_page_once(tmp_path):
    one = report_runs.write(tmp_path / "a" / "run", _dice(["a", "b"]))
    two = report_runs.write(tmp_path / "b" / "run", _dice(["a", "b"]))
    parsed = Parsed(_build(one, two).decode())
    names = [given["id"] for given, _ in parsed.scripts if given.get("id", "").startswith("volume-")]
    assert len(names) == len(set(names)) and len(json.loads(parsed.block("viewer-cases"))) == 4
    assert {"a/run", "b/run"} <= set(parsed.texts)


def test_an_index_that_leads_elsewhere_is_not_followed(tmp_path):
    folder = report_runs.write(tmp_path / "run", _dice(["a", "b"]))
    index = folder / "evaluation" / "test" / "cases" / "index.json"
    body = json.loads(index.read_text())
    body["cases"][0]["folder"] = "../cases/0000"
    index.write_text(json.dumps(body))
    parsed = Parsed(_build(folder).decode())
    assert len(json.loads(parsed.block("viewer-cases"))) == 1


def test_columns_that_this_version_does_not_know_are_shown(tmp_path):
    folder = report_runs.write(tmp_path / "run", _dice(["a", "b"]), images=None)
    path = folder / "evaluation" / "test" / "metrics.json"
    body = json.loads(path.read_text())
    for row in body["rows"]:
        row["summary"]["novel_mm"] = {"mean": 12.34, "sd": None, "n": 2, "median": 11.0, "interval": [10.5, 14.25]}
        row["summary"]["lesions"] = {"found": 4, "missed": 3}
        row["failures"] = {"dice_below": [["b", 0.321]]}
        for case in row["cases"]:
            case |= {"novel_mm": 7.77, "lesions_missed": 1}
    path.write_text(json.dumps(body))
    parsed = Parsed(_build(folder).decode())
    for expected in (
        "novel mm",
        "12.3",
        "10.5 to 14.2",
        "median 11.0",
        "lesions missed",
        "7.8",
        "a (1), b (1)",
        "b (0.321)",
    ):
        assert expected in parsed.texts or any(expected in text for text in parsed.texts), expected


def test_three_regions_of_four_modalities(tmp_path):
    folder = report_runs.write_classes(tmp_path / "run", ["p0", "p1"])
    parsed = Parsed(_build(folder).decode())
    texts = " ".join(parsed.texts)
    assert all(f"Class {one}" in texts and f"validation Dice of {one}" in texts for one in ("wt", "tc", "et"))
    # The network of t1 is right in p0, and a row off in p1.
    assert re.search(r"t1\s+DSC 1.000 \(wt 1.000, tc 1.000, et 1.000\)", texts)
    assert "t1, wt" in texts and "flair, et" in texts and "solid: truth; dashed: prediction" in texts
    entries = json.loads(parsed.block("viewer-cases"))
    assert [entry["classes"] for entry in entries] == [["wt", "tc", "et"]] * 2
    for entry in entries:
        assert len(entry["truths"]) == 3 and [modality["name"] for modality in entry["modalities"]] == list(
            report_runs.CONTRASTS
        )
        assert {len(modality[what]) for modality in entry["modalities"] for what in ("masks", "probabilities")} == {3}


def test_outlines_of_classes_have_their_colours():
    truth = np.zeros((40, 40), np.uint8)
    truth[5:30, 5:30] = 1
    mask = np.roll(truth, 6, axis=1)
    arrays = {"image-0": np.zeros((40, 40), np.uint8)}
    for end, one, other in (("-0", truth, mask), ("-1", np.zeros_like(truth), np.zeros_like(truth))):
        arrays |= {f"truth{end}": one, f"mask-0{end}": other, f"probability-0{end}": other * 255}
    case = kept_images.KeptCase(
        "a", pathlib.Path(), {"ct": 0}, ("wt", "tc"), {"ct": {"wt": 0.5, "tc": 0.5}}, 0, None, 1, 1.0, False
    )
    shown = slice_pictures._Slice(case, arrays, 0)
    pixels = []
    shown._picture = lambda title, alternative, drawn: pixels.append(drawn)
    shown.modality("ct", "ct")
    colours = {tuple(colour) for colour in pixels[0].reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), slice_pictures.class_colour(0)}
    # Solid where the truth ends, dashed where the prediction does.
    width = pixels[0].shape[1] / 40
    left, right = (
        pixels[0][60:150, round(place * width) : round((place + 1) * width)].any(axis=(1, 2)) for place in (5, 35)
    )
    assert left.all() and 0.2 < right.mean() < 0.8


def test_a_lone_surrogate_in_a_name_is_replaced(tmp_path):
    folder = report_runs.write(tmp_path / "run", _dice(["a", "b"]))
    path = folder / "evaluation" / "test" / "metrics.json"
    path.write_text(path.read_text().replace('"notes": []', '"notes": ["half \\ud800 letter"]'))
    assert "half ? letter" in _build(folder).decode()
