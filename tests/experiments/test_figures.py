"""Figures of an experiment: valid pictures, whose size depends on the rows."""

import io

import pytest
from PIL import Image

from semicml_tf.experiments import figure, publish, results, summary
from tests.support.experiment_data import finish, finish_classes, write_labelled

ROWS = ("ours", "supervised", "mean_teacher")


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    root = tmp_path_factory.mktemp("figures")
    data = write_labelled(root / "data", 8)
    return [
        finish(root, row, labelled, seed, {"ct": [0.4, 0.6 + seed / 50], "pet": [0.5, 0.7]}, dataset=data)
        for row in ROWS
        for labelled in (("2", "all") if row == "supervised" else ("2",))
        for seed in (1, 2)
    ]


def _drawn(draw, cells, baseline="supervised"):
    found = results.read(cells)
    png = draw(found, summary.lines(found, "ours", baseline), reference="ours", baseline=baseline)
    return png and Image.open(io.BytesIO(png))


def _colours(image):
    return {colour for _, colour in image.convert("RGB").getcolors(1 << 20)}


def test_the_dot_plot_grows_with_its_rows(cells):
    whole = _drawn(figure.table_png, cells)
    assert whole.format == "PNG" and 800 < whole.width < 2000 and 200 < whole.height < 1000
    one = _drawn(figure.table_png, [cell for cell in cells if cell.row == "ours"], baseline=None)
    assert one.width == whole.width and one.height < whole.height


def test_the_ceiling_is_drawn_where_there_is_one(cells):
    green, gray = (44, 160, 44), (127, 127, 127)
    with_ceiling = _colours(_drawn(figure.table_png, cells))
    without = _colours(_drawn(figure.table_png, cells, baseline=None))
    assert green in with_ceiling and green not in without
    assert gray in with_ceiling and gray in without  # the blind ellipsoid


def test_the_curve_needs_a_row_with_several_labelled_counts(cells):
    whole = _drawn(figure.curve_png, cells)
    assert whole.format == "PNG" and 800 < whole.width < 2000 and 300 < whole.height < 1000
    assert _drawn(figure.curve_png, [cell for cell in cells if cell.labelled == "2"]) is None


def test_a_set_of_modalities_has_a_panel_and_a_column_each(tmp_path):
    scores = {"ct": [0.4, 0.6], "pet": [0.5, 0.7], "mr": [0.6, 0.8]}
    cells = [finish(tmp_path / "3", "ours", "2", 1, scores), finish(tmp_path / "1", "ours", "2", 1, {"mr": [0.6, 0.8]})]
    found = results.read(cells)
    assert summary.columns(found, ("ct", "pet", "mr")) == ("ct", "pet", "mr", "mean")
    assert summary.columns(found, ("mr",)) == ("mr",)
    (line,) = (line for line in summary.lines(found, "ours", None) if (line.modality, line.row) == ("mean", "ours"))
    assert line.metrics["dice"].mean == pytest.approx(0.6)
    both, three, one = (_drawn(figure.table_png, of_cells, baseline=None) for of_cells in (cells, cells[:1], cells[1:]))
    assert both.width == three.width > 2 * one.width and both.height > three.height


def test_each_class_has_a_row_of_panels(tmp_path):
    dice = {"wt": {"ct": [0.7, 0.8], "pet": [0.6, 0.7]}, "et": {"ct": [0.3, 0.4], "pet": [0.2, 0.3]}}
    cells = [finish_classes(tmp_path, "ours", labelled, 1, dice) for labelled in ("2", "4")]
    publish.publish(cells, tmp_path / "out", reference="ours", command="x", hashes={})
    found = results.read(cells)
    lines = summary.lines(found, "ours", None)
    assert {line.target for line in lines} == {None, "wt", "et"}
    for name, draw in (("table", figure.table_png), ("curve", figure.curve_png)):
        one, two = (Image.open(tmp_path / "out" / f"{name}{ending}.png") for ending in ("", "_classes"))
        assert one.width == two.width and 1.7 * one.height < two.height < 2.1 * one.height
        # The panels over all classes are those of one class's scores.
        only = [line for line in lines if line.target is None]
        assert (tmp_path / "out" / f"{name}.png").read_bytes() == draw(found, only, reference="ours", baseline=None)
    # Without classes, no figure of an earlier grid stays.
    plain = [finish(tmp_path / "plain", "ours", "2", 1, {"ct": [0.4, 0.6], "pet": [0.5, 0.7]})]
    publish.publish(plain, tmp_path / "out", reference="ours", command="x", hashes={})
    assert not list((tmp_path / "out").glob("*_classes.png"))
