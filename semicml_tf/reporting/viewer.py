"""The viewer in the page: its dialog, its data and NiiVue's source."""

from __future__ import annotations

import importlib.resources
import json

from semicml_tf.reporting.markup import Html, data_block, element, join
from semicml_tf.reporting.viewer_volumes import ViewerVolumes

_VIEWS = ((3, "three planes and 3-D"), (0, "axial"), (1, "coronal"), (2, "sagittal"), (4, "3-D"))
_KEYS = (
    ("Page up, Page down", "next slice"),
    ("arrows", "move in the slice"),
    ("m", "next modality"),
    ("t", "truth on and off"),
    ("p", "prediction on and off"),
    ("l", "outlines or filled masks"),
    ("o", "probabilities or masks"),
    ("n, b", "next, previous patient"),
    ("Esc", "close"),
)


def asset(name: str) -> str:
    """A file of the package's assets."""
    return importlib.resources.files("semicml_tf.reporting").joinpath("assets", name).read_text(encoding="utf-8")


def niivue_source() -> str:
    """NiiVue, unchanged from npm."""
    return asset("niivue/niivue.umd.js")


def niivue_note() -> Html:
    """NiiVue's version and source, and the licences of a page that contains NiiVue."""
    source = json.loads(asset("niivue/source.json"))
    return join(
        element(
            "p",
            f"Viewer: NiiVue {source['version']} ({source['licence']}), {source['package']} from npm.",
            class_="note",
        ),
        element(
            "details",
            element("summary", "Licences of the viewer"),
            element("pre", asset("niivue/LICENSE"), "\n\n", asset("niivue/THIRD_PARTY.txt"), tabindex=0),
        ),
    )


def _button(part: str, label: str) -> Html:
    return element("button", label, type="button", data_part=part)


def _box(part: str, label: str) -> Html:
    return element("label", element("input", type="checkbox", data_part=part), label)


def dialog() -> Html:
    """The dialog; `assets/viewer.js` fills it."""
    head = element(
        "div",
        element("h2", data_part="title", id="viewer-title"),
        _button("previous", "Previous"),
        _button("next", "Next"),
        _button("close", "Close"),
        class_="viewer-head",
    )
    side = element(
        "div",
        element("fieldset", element("legend", "Modality"), element("div", data_part="modalities")),
        element(
            "fieldset",
            element("legend", "Layers and their opacity"),
            element("div", data_part="layers"),
            _box("outlines", "outlines of the masks"),
            _box("probabilities", "probabilities instead of masks"),
        ),
        element(
            "fieldset",
            element("legend", "View"),
            element(
                "select",
                [element("option", name, value=number) for number, name in _VIEWS],
                data_part="view",
                aria_label="view",
            ),
        ),
        element(
            "p",
            "Masks are the scored masks on the network's grid, and images are 8-bit. Scores are from the patient's own "
            "grid. Right button and drag: grey window; wheel: slices.",
            class_="note",
        ),
        element("p", [join(element("kbd", key), f" {what}", Html("<br>")) for key, what in _KEYS], class_="note"),
        class_="viewer-side",
    )
    canvas = element(
        "div",
        element("canvas", data_part="canvas", tabindex=0, role="application", aria_label="slices of the volume"),
        element("canvas", data_part="outline-canvas", class_="outlines", aria_hidden="true"),
        class_="viewer-canvas",
    )
    return element(
        "dialog",
        head,
        element("div", canvas, side, class_="viewer-body"),
        element("div", data_part="status", class_="viewer-status", role="status"),
        id="viewer",
        aria_labelledby="viewer-title",
    )


def data(volumes: ViewerVolumes) -> Html:
    """The patients and their volumes, and NiiVue's source, as blocks that the browser does not run."""
    blocks = [
        Html(f'<script type="text/plain" id="volume-{key}">{body}</script>\n') for key, body in volumes.files.items()
    ]
    source = Html(f'<script type="text/plain" id="niivue-source">{niivue_source()}</script>')
    return join(data_block("viewer-cases", list(volumes.cases)), "\n", blocks, source)
