"""The report's charts: positions on axes, dots without overlap, colours of maps."""

import numpy as np
import pytest

from semicml_tf.reporting import chart, markup, slice_pictures, strip_plots


def test_an_outline_follows_the_scored_mask_and_smooth_probabilities():
    soft = np.array([[0, 40, 60, 200, 255, 0]], np.uint8)  # the threshold lies at 51
    scored = np.array([[0, 0, 1, 1, 0, 1]], np.uint8)  # the fifth was dropped, the last one filled
    values = slice_pictures._as_scored(0.2, soft, scored)
    assert np.array_equal(values >= 128, scored != 0)
    assert values[0, 0] == 0 and 90 < values[0, 1] < 128 < values[0, 2] < 140 < values[0, 3] < 255


def test_ticks_are_round_and_within_the_range():
    assert chart.ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert chart.ticks(-0.3, 1.1) == [0, 0.5, 1.0]
    assert chart.ticks(13, 87) == [20, 40, 60, 80]
    assert chart.log_ticks(0.01, 100) == pytest.approx([0.01, 0.1, 1, 10, 100])
    assert chart.log_ticks(1, 12) == pytest.approx([1, 2, 5, 10])


def test_a_frame_puts_the_ends_of_the_data_at_the_ends_of_its_box():
    frame = chart.Frame((1, 100), (0, 2), width=100, height=100, left=10, right=10, top=10, bottom=10, x_log=True)
    assert [frame.x(value) for value in (1, 10, 100)] == [10, 50, 90]
    assert [frame.y(value) for value in (0, 1, 2)] == [90, 50, 10]


def test_dots_of_a_strip_hide_none_while_there_is_room():
    places = sorted(np.random.default_rng(0).uniform(0, 150, 30).tolist())
    spots = list(zip(places, strip_plots._offsets(places)))
    near = [
        (first, second)
        for number, first in enumerate(spots)
        for second in spots[:number]
        if np.hypot(first[0] - second[0], first[1] - second[1]) < 2 * strip_plots._RADIUS - 1e-9
    ]
    assert not near
    crowd = strip_plots._offsets([0.0] * 50)
    assert max(map(abs, crowd)) <= strip_plots._ROW / 2
    assert strip_plots._offsets([0.0, 50.0, 100.0]) == [0, 0, 0]


def test_entropy_is_one_bit_at_a_half_and_zero_at_the_ends():
    values = slice_pictures.entropy_bits(np.array([0.0, 0.11, 0.5, 0.89, 1.0]))
    assert values == pytest.approx([0, 0.49992, 1, 0.49992, 0], abs=1e-4)


def test_heat_grows_lighter_with_the_value():
    colours = slice_pictures.heat(np.linspace(0, 1, 50)[None]).astype(int).sum(axis=2)
    assert colours.shape == (1, 50) and np.all(np.diff(colours[0]) > 0)


def test_markup_escapes_all_but_itself():
    made = markup.element("a", "<b>", markup.element("i", "&"), href='"><script>', hidden=True, title=None)
    assert made == '<a href="&quot;&gt;&lt;script&gt;" hidden>&lt;b&gt;<i>&amp;</i></a>'
    assert "</script><" not in markup.data_block("x", {"a": "</script><script>"}).removesuffix("</script>")
