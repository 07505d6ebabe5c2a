"""The report's page in a real browser, from disk: tables sort, volumes show, the keyboard works, nothing is fetched."""

import contextlib

import numpy as np
import pytest

from semicml_tf import commandline
from tests.browser import chromium
from tests.support import report_runs

pytestmark = pytest.mark.skipif(
    chromium.find() is None, reason=f"no browser on PATH: expected one of {', '.join(chromium.NAMES)}"
)
NAMES = ["<b>bold</b>", *(f"p{number:02d}" for number in range(17))]
STATE = "document.getElementById('viewer').dataset.state"
CANVAS = "#viewer canvas"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    dice = {
        modality: {name: round(0.95 - step * place, 3) for place, name in enumerate(NAMES)}
        for modality, step in (("ct", 0.05), ("pet", 0.03))
    }
    folder = report_runs.write(tmp_path_factory.mktemp("page") / "run", dice, shape=(40, 36, 12))
    commandline.call("semicml_tf.report", [str(folder)])
    return folder / "report.html"


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def browser(chrome, page):
    """The page, freshly loaded; whatever a test does with it, it must complain of nothing and fetch nothing."""
    chrome.look(1280)
    chrome.console.clear()
    chrome.requests.clear()
    chrome.open(page)
    yield chrome
    assert chrome.console == []
    assert {address.split(":")[0] for address in chrome.requests} <= {"file", "data", "blob"}
    assert [address for address in chrome.requests if address.startswith("file")] == [page.resolve().as_uri()]


@contextlib.contextmanager
def _viewer(browser, opener="button.open"):
    # Small: there is no graphics card.
    browser.look(760, 560)
    browser.click(opener)
    browser.wait(f"['shown', 'failed'].includes({STATE})")
    assert browser.run(STATE) == "shown", browser.run("document.querySelector('.viewer-status').textContent")
    yield
    browser.press("Escape")
    assert not browser.run("document.getElementById('viewer').open")


def _column(browser, number):
    return browser.run(
        f"[...document.querySelectorAll('#summary tbody tr')].map((row) => row.cells[{number}].textContent)"
    )


def _different(first, second) -> int:
    return int(np.any(first != second, axis=2).sum())


def test_the_page_loads_and_shows_its_pictures(browser):
    broken = browser.run("[...document.images].filter((one) => !one.complete || !one.naturalWidth).length")
    assert broken == 0 and browser.run("document.images.length") >= 5 * len(NAMES)
    assert "<b>bold</b>" in browser.run("document.body.innerText")


def test_a_click_on_a_heading_sorts_and_another_one_turns_round(browser):
    heading = "#summary thead th:nth-child(2)"
    given = _column(browser, 1)
    browser.click(f"{heading} button")
    rising = _column(browser, 1)
    assert rising == sorted(given, key=lambda text: float(text.split()[0])) != given
    assert browser.run(f"document.querySelector('{heading}').getAttribute('aria-sort')") == "ascending"
    browser.click(f"{heading} button")
    assert _column(browser, 1) == rising[::-1]


def test_the_keyboard_sorts_too(browser):
    browser.run("document.querySelector('#summary thead button').focus()")
    browser.press("Enter")
    names = _column(browser, 0)
    assert names == sorted(names)
    browser.press("Tab")
    browser.press("Enter")
    assert browser.run("document.querySelector('#summary th:nth-child(2)').getAttribute('aria-sort')") == "ascending"


def test_the_viewer_shows_the_volume_and_its_layers(browser):
    with _viewer(browser):
        browser.press("l")  # filled masks
        both = browser.pixels(CANVAS)
        assert len(np.unique(both.reshape(-1, 3), axis=0)) > 50
        browser.press("t")
        without_truth = browser.pixels(CANVAS)
        assert _different(both, without_truth) > 100
        browser.press("p")
        bare = browser.pixels(CANVAS)
        assert _different(without_truth, bare) > 100
        # Grey alone, but for the cross of lines and the letters of the directions.
        coloured = np.ptp(bare.astype(int), axis=2) > 60
        assert coloured.mean() < 0.02 < (np.ptp(both.astype(int), axis=2) > 60).mean()
        browser.press("t")
        browser.press("p")
        assert _different(both, browser.pixels(CANVAS)) == 0
        browser.click("[data-part=layers] input[type=checkbox]")
        assert _different(without_truth, browser.pixels(CANVAS)) == 0


def test_outlines_surround_what_filled_masks_cover(browser):
    """Truth and prediction have one each."""
    with _viewer(browser):
        browser.run(
            "const view = document.querySelector('[data-part=view]'); view.value = '0';"
            " view.dispatchEvent(new Event('change'))"
        )

        def seen(channel):
            """Where the picture is green (1) or orange (0)."""
            pixels = browser.pixels(CANVAS).astype(int)
            others = [pixels[..., other] for other in range(3) if other != channel]
            return np.all([pixels[..., channel] > other + 40 for other in others], axis=0)

        drawn = browser.pixels(CANVAS)
        assert seen(0).sum() > 50
        browser.press("p")
        ring = seen(1)
        assert not seen(0).any() and ring.sum() > 50
        browser.press("t")
        assert not seen(1).any()
        browser.press("t")
        browser.press("l")
        covered = seen(1)
        assert covered.sum() > 3 * ring.sum()
        for inner, outer in zip(np.nonzero(covered), np.nonzero(ring)):
            assert abs(inner.min() - outer.min()) < 15 and abs(inner.max() - outer.max()) < 15
        row, column = (int(places.mean()) for places in np.nonzero(covered))
        # Beside the cross of lines, in the middle of what is covered.
        assert covered[row - 8 : row - 3, column - 8 : column - 3].all()
        assert not ring[row - 8 : row - 3, column - 8 : column - 3].any()
        browser.press("l")
        browser.press("p")
        assert _different(drawn, browser.pixels(CANVAS)) == 0


def test_the_viewer_begins_in_the_lesion_and_changes_slice_modality_and_patient(browser):
    with _viewer(browser):
        told = browser.run("document.querySelector('.viewer-status').textContent")
        assert "truth 1" in told and "ct " in told
        first = browser.pixels(CANVAS)
        browser.press("PageUp")
        second = browser.pixels(CANVAS)
        assert _different(first, second) > 500
        browser.press("m")
        assert (
            browser.run("document.querySelector('[data-part=modalities] input:checked').parentNode.textContent")[:3]
            == "pet"
        )
        assert _different(second, browser.pixels(CANVAS)) > 500
        title = browser.run("document.getElementById('viewer-title').textContent")
        browser.press("n")
        browser.wait(f"{STATE} === 'shown'")
        assert browser.run("document.getElementById('viewer-title').textContent") != title
        browser.press("o")
        masks, scale = second, browser.pixels(CANVAS)
        assert _different(masks, scale) > 500


def test_a_click_on_a_picture_opens_that_patient_and_closing_gives_the_focus_back(browser):
    card = browser.run("document.querySelectorAll('.case.viewable')[3].id")
    with _viewer(browser, f"#{card} .pictures img"):
        name = browser.run(f"document.querySelector('#{card} h4').textContent").split(". ", 1)[1]
        assert browser.run("document.getElementById('viewer-title').textContent").startswith(name)
    opener = f"#{card} button.open"
    browser.run(f"document.querySelector('{opener}').focus()")
    browser.press("Enter")
    browser.wait(f"{STATE} === 'shown'")
    browser.press("Escape")
    assert browser.run(f"document.activeElement === document.querySelector('{opener}')")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_fits_any_window_and_keeps_to_the_readers_colours(browser, width, dark):
    browser.look(width, dark=dark)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    ground, ink = (
        browser.run(f"getComputedStyle(document.body).{name}.match(/\\d+/g).reduce((sum, one) => sum + Number(one), 0)")
        for name in ("backgroundColor", "color")
    )
    assert (ground < ink) == dark and abs(ground - ink) > 400


def test_a_browser_without_webgl_is_told_so(page, tmp_path):
    with chromium.Chromium(tmp_path, "--disable-3d-apis") as plain:
        plain.open(page)
        plain.click("button.open")
        plain.wait(f"{STATE} === 'failed'")
        assert "needs WebGL 2" in plain.run("document.querySelector('.viewer-status').textContent")


def test_the_viewer_lists_the_layers_of_each_class(chrome, tmp_path):
    folder = report_runs.write_classes(tmp_path / "run", ["p0"])
    commandline.call("semicml_tf.report", [str(folder)])
    chrome.console.clear()
    chrome.open(folder / "report.html")
    layers = "[...document.querySelectorAll('[data-part=layers] label')].map((one) => one.textContent)"
    with _viewer(chrome):
        expected = [f"{one}: {what}" for what in ("truth", "prediction") for one in ("wt", "tc", "et")]
        assert chrome.run(layers) == expected
        before = chrome.pixels(CANVAS)
        chrome.press("m")
        assert chrome.run(layers) == expected and _different(before, chrome.pixels(CANVAS)) > 100
    assert chrome.console == []
