"""Contact sheets and their page: what is drawn, in which place, with which bytes."""

import dataclasses
import functools
import html.parser
import subprocess
import sys
import types
import urllib.parse
import warnings

import numpy as np
import PIL.Image
import pytest
from scipy import ndimage

from semicml_tf.conversion.execution.dataset_writer import picture_name
from semicml_tf.conversion.preview.contact_sheet import slices_to_show, write_preview
from semicml_tf.conversion.preview.page import write_page
from semicml_tf.conversion.verification.findings import CODES, Finding
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample, resample_mask
from semicml_tf.labels import LabelDefinition
from semicml_tf.phantom import case as cases
from semicml_tf.preprocessing.normalisation import Constants, for_modality
from semicml_tf.records.case_record import CaseRecord
from tests.support.file_names import any_letters

GREEN, BLUE, ORANGE = (51, 242, 64), (38, 191, 255), (255, 140, 26)


@functools.lru_cache
def phantom(index):
    return cases.generate(0, index, empty_fraction=0)


def record(index=0, *, labelled=True, shift_mm=0.0, modalities=("ct", "pet"), case_id=None):
    """A phantom on the network's grid; its PET lies `shift_mm` too far to the patient's right."""
    case = phantom(index)
    grid = case.images["ct"][1].for_network((4, 3, 3))
    images, constants = {}, {}
    for name in modalities:
        volume, own = case.images[name]
        if name == "pet":
            affine = own.affine.copy()
            affine[0, 3] += shift_mm
            own = Grid(own.shape, affine)
        constants[name] = for_modality(name, {}).constants(volume)
        images[name] = constants[name].apply(resample(volume, own, grid)).astype(np.float16)
    made = CaseRecord(case_id or case.case_id, grid, images, constants, case.label_grid)
    if not labelled:
        return made
    label = resample_mask(case.label, case.label_grid, grid)
    return dataclasses.replace(made, label=label, native_label=case.label)


def drawn(made, path, **options):
    write_preview(made, path, partition="labelled", **options)
    return np.asarray(PIL.Image.open(path).convert("RGB"))


def coloured(picture, colour):
    """Pixels of exactly this colour, above the legend."""
    return (picture[:-30] == colour).all(axis=-1)


def test_same_record_same_bytes_and_nothing_of_time_or_version_in_them(tmp_path):
    drawn(record(), tmp_path / "a.png")
    drawn(record(), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert PIL.Image.open(tmp_path / "a.png").info == {}


def test_bytes_do_not_depend_on_the_users_style_or_on_threads(tmp_path):
    import concurrent.futures

    import matplotlib

    drawn(record(), tmp_path / "a.png")
    with matplotlib.rc_context({"font.size": 30, "text.color": "red", "savefig.facecolor": "white"}):
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda name: drawn(record(), tmp_path / name), ("b.png", "c.png")))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes() == (tmp_path / "c.png").read_bytes()


def test_the_label_is_drawn_in_every_picture_and_only_where_there_is_one(tmp_path):
    assert coloured(drawn(record(), tmp_path / "a.png"), GREEN).sum() > 1000
    assert not coloured(drawn(record(labelled=False), tmp_path / "b.png"), GREEN).any()
    empty = dataclasses.replace(record(), label=np.zeros_like(record().label))
    assert not coloured(drawn(empty, tmp_path / "c.png"), GREEN).any()


def test_the_contour_lies_round_the_lesion(tmp_path):
    """A box of 12 x 8 pixels of 1 mm: its contour's place in the first panel by closed form."""
    grid = Grid((6, 40, 40), np.array([[0, 0, -1.0, 0], [0, -1.0, 0, 0], [2.0, 0, 0, 0], [0, 0, 0, 1]]))
    label = np.zeros(grid.shape, np.uint8)
    label[:, 10:22, 20:28] = 1
    images = {"ct": np.zeros(grid.shape, np.float16)}
    made = CaseRecord("box", grid, images, {"ct": Constants(0, 1, 0, 1)}, grid, label, label)
    picture = drawn(made, tmp_path / "a.png")
    rows, columns = np.nonzero(coloured(picture, GREEN)[44:244, 26:226])  # 200 pixels for 40 mm
    assert abs(rows.min() - (50 - 2)) <= 1 and abs(rows.max() - (110 + 1)) <= 1
    assert abs(columns.min() - (100 - 2)) <= 1 and abs(columns.max() - (140 + 1)) <= 1


def test_a_shift_separates_the_outlines(tmp_path):
    """How far the body's two outlines lie apart in the overlay, in mm; both begin at the same structure, the skin."""

    def gap(shift_mm):
        overlay = drawn(record(1, labelled=False, shift_mm=shift_mm), tmp_path / "a.png")[456:656, 26:226]
        blue, orange = (np.argmax(coloured_row) for coloured_row in (_any(overlay, BLUE), _any(overlay, ORANGE)))
        return (int(orange) - int(blue)) * 192 / 200

    def _any(panel, colour):
        return (panel == colour).all(axis=-1)[60:140].any(axis=0)

    aligned = gap(0)
    assert abs(aligned) < 5
    # The patient's right (RAS+ x) is on the left of the picture.
    assert gap(10) - aligned == pytest.approx(-10, abs=3)
    assert gap(-10) - aligned == pytest.approx(10, abs=3)


def test_slices_go_through_the_lesion():
    label = np.zeros((50, 4, 4), np.uint8)
    label[10:40, 1, 1] = 1
    assert slices_to_show(label, 6, 50) == [12, 17, 22, 27, 32, 37]
    label[:] = 0
    assert slices_to_show(label, 6, 50) == slices_to_show(None, 6, 50) == [4, 12, 20, 29, 37, 45]
    label[0:2] = 1  # too few: it goes on beyond
    assert slices_to_show(label, 6, 50) == [0, 1, 2, 3, 4, 5]
    assert slices_to_show(label[:3], 6, 3) == [0, 1, 2]


@pytest.mark.parametrize("shape", [(1, 30, 30), (2, 5, 90), (40, 30, 3), (1, 1, 1)])
def test_odd_shapes_are_drawn(tmp_path, shape):
    grid = Grid(shape, np.diag([3.0, 2.0, 1.0, 1.0])[[2, 1, 0, 3]])
    values = np.random.default_rng(0).normal(size=shape).astype(np.float16)
    constants = {name: Constants(0, 1, 0, 1) for name in ("t1", "t2")}
    label = np.ones(shape, np.uint8)
    drawn(CaseRecord("odd", grid, {"t1": values, "t2": values}, constants, grid, label, label), tmp_path / "a.png")


def test_one_modality_has_no_overlay(tmp_path):
    alone = drawn(record(modalities=("ct",)), tmp_path / "a.png")
    both = drawn(record(), tmp_path / "b.png")
    assert alone.shape[1] == both.shape[1] and alone.shape[0] < both.shape[0]
    assert not coloured(alone, BLUE).any() and coloured(both, BLUE).any()
    np.testing.assert_array_equal(drawn(record(), tmp_path / "c.png", names=["ct"]), alone)


def test_each_further_modality_is_blended_with_the_first(tmp_path):
    made, names = record(labelled=False), ("ct", "pet", "t1", "t2")
    ct, pet = made.images["ct"], made.images["pet"]
    # T1 is the CT, turned by half a turn; T2 the CT itself.
    images = dict(zip(names, (ct, pet, ct[:, ::-1, ::-1], ct)))
    constants = dict(zip(names, (made.constants["ct"], made.constants["pet"], *[made.constants["ct"]] * 2)))
    picture = drawn(dataclasses.replace(made, images=images, constants=constants), tmp_path / "a.png")
    two = drawn(made, tmp_path / "b.png")
    # Four modalities, three overlays, one chessboard.
    assert picture.shape[1] == two.shape[1] and picture.shape[0] - two.shape[0] == 4 * 206

    def row(number, colour):
        return (picture[44 + number * 206 :][:200, 26:1256] == colour).all(axis=-1)

    # T2's outline covers that of the CT, with which it coincides.
    assert [row(number, BLUE).any() for number in range(8)] == [False] * 4 + [True, True, False] + [False]
    for number, colour in enumerate((ORANGE, (204, 115, 255), (255, 153, 191))):
        assert [row(4 + other, colour).any() for other in range(3)] == [other == number for other in range(3)]


def test_constant_images_are_black(tmp_path):
    made = record(labelled=False)
    flat = dataclasses.replace(made, images={name: np.full_like(image, 0.5) for name, image in made.images.items()})
    assert drawn(flat, tmp_path / "a.png")[60:220, 300:400].max() == 0


def test_the_record_does_not_change(tmp_path):
    made = record()
    before = {name: image.copy() for name, image in made.images.items()}
    for image in made.images.values():
        image.setflags(write=False)
    drawn(made, tmp_path / "a.png")
    for name, image in made.images.items():
        np.testing.assert_array_equal(image, before[name])


@any_letters
def test_any_name_of_a_case_can_be_drawn(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("$\\frac{1}$", "病人 1", "a/b\\c", "..", "<b>"):
            path = tmp_path / picture_name(name)
            assert path.parent == tmp_path
            drawn(record(labelled=False, case_id=name), path)
            assert path.is_file()
    assert len(list(tmp_path.iterdir())) == 5
    assert picture_name("STS_002") == "STS_002.png" and picture_name("é_1") == "é_1.png"
    assert len({picture_name(name) for name in ("a/b", "a%2Fb", "a b", "a_b")}) == 4


def test_an_output_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_preview(record(), tmp_path / "file" / "a.png", partition="test")


def test_neither_tensorflow_nor_pyplot_is_imported():
    code = (
        "import sys, semicml_tf.conversion.preview.contact_sheet, semicml_tf.conversion.preview.page;"
        "assert not {'matplotlib', 'tensorflow', 'PIL'} & set(sys.modules), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def job(case_id, partition="labelled", folder=None):
    preview = f"preview/{picture_name(case_id)}"
    if folder is not None:
        PIL.Image.new("RGB", (30, 20)).save(folder / picture_name(case_id))
    return types.SimpleNamespace(case=types.SimpleNamespace(case_id=case_id), partition=partition, preview=preview)


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text of each element that has an id or a class."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_page_shows_every_case_once_with_relative_links(tmp_path):
    names = ["STS_2", "a b#1", "é", "<script>"]
    jobs = [
        job(name, partition, tmp_path) for name, partition in zip(names, ("test", "labelled", "labelled", "unlabelled"))
    ]
    write_page(tmp_path / "index.html", jobs)
    page = Page(tmp_path / "index.html")
    pictures = page.all("img")
    assert len(pictures) == 4 and {picture["alt"] for picture in pictures} == set(names)
    for picture in pictures:
        assert (tmp_path / urllib.parse.unquote(picture["src"])).is_file()
        assert picture["loading"] == "lazy" and (picture["width"], picture["height"]) == ("30", "20")
    assert [group["id"] for group in page.all("details")] == ["labelled", "unlabelled", "test"]
    text = (tmp_path / "index.html").read_text("utf-8")
    assert "<script" not in text and "http:" not in text and "https:" not in text and "url(" not in text


def test_page_shows_findings_beside_their_case(tmp_path):
    warning = next(code for code, (severity, *_) in CODES.items() if severity == "warning")
    error = next(code for code, (severity, *_) in CODES.items() if severity == "error")
    found = [
        Finding(warning, "warning", "A", "/secret/place/a.nii", "its slices & those of ct part.", "Look <there>"),
        Finding(error, "error", "A", "", "worse", ""),
        Finding(error, "error", "gone", "", "was left out", "Mend it"),
    ]
    write_page(tmp_path / "index.html", [job("A"), job("B")], found)
    page = Page(tmp_path / "index.html")
    assert [item["class"] for item in page.all("li")] == ["error", "error", "warning"]
    text = " ".join(page.text)
    assert text.index("was left out") < text.index("worse") < text.index("its slices & those of ct part")
    assert "1 of 2 cases have findings" in text and "Look <there>" in text and "part.." not in text
    assert "/secret" not in (tmp_path / "index.html").read_text("utf-8")
    targets = {attributes["id"] for tag, attributes in page.tags if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a") if link["href"].startswith("#")} <= targets


def test_page_does_not_depend_on_the_order(tmp_path):
    jobs = [job(name) for name in "CAB"]
    warning = next(code for code, (severity, *_) in CODES.items() if severity == "warning")
    found = [Finding(warning, "warning", "A", "", text, "") for text in ("one", "two")]
    write_page(tmp_path / "a.html", jobs, found)
    write_page(tmp_path / "b.html", jobs[::-1], found[::-1])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_each_class_has_a_contour_of_its_own_colour(tmp_path):
    made = record()
    regions = LabelDefinition({"wt": (1,), "tc": (2,), "et": (3,)})
    inner = ndimage.binary_erosion(made.label)
    codes = regions.join(np.stack([made.label, inner.astype(np.uint8), np.zeros_like(made.label)]))
    picture = drawn(dataclasses.replace(made, label=codes, native_label=None, labels=regions), tmp_path / "a.png")
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {(255, 212, 0), (42, 169, 255)} <= colours and GREEN not in colours
