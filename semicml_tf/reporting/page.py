"""Builds the page: all sections in one HTML file that loads no other files."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from semicml_tf import __version__
from semicml_tf.errors import UserError
from semicml_tf.geometry import outlines
from semicml_tf.reporting import (
    annotation_curve,
    calibration_plots,
    headline,
    learning_curves,
    modality_gap,
    provenance,
    ranked_cases,
    run_comparison,
    strip_plots,
    summary,
    viewer,
    viewer_volumes,
)
from semicml_tf.reporting.markup import Html, block, element, join
from semicml_tf.reporting.ranking import RankedCase, ranked
from semicml_tf.reporting.run_facts import RunFacts
from semicml_tf.reporting.viewer_volumes import ViewerVolumes

LARGEST_BYTES = 50_000_000
# The largest share of the page for pictures of slices. The viewer's volumes need the rest.
_SHARE_OF_PICTURES = 0.4
# More notes than these are folded. More names than these are left out of the title.
_NOTICES, _NAMES = 4, 3
_PRIVATE = join(
    "This page contains images of patients, and their names in the evaluation. Share it only with people who may have "
    "the images. With ",
    element("code", "--noimages", class_="flag"),
    ", the page has no images.",
)
_RAMP = element(
    "span",
    "disagreement (largest difference of probabilities) and uncertainty (entropy in bits): 0",
    element("i", class_="ramp"),
    "1",
    class_="key ramp-key",
)


def _keys(classes: Sequence[str]) -> Html:
    """The legend of the pictures."""
    if not classes:
        return join(
            element("span", element("i", class_="truth"), "truth", class_="key"),
            element("span", element("i", class_="prediction"), "prediction of this modality's network", class_="key"),
            _RAMP,
        )
    return join(
        [
            element("span", element("i", style=f"background:{outlines.class_colour(number)}"), name, class_="key")
            for number, name in enumerate(classes)
        ],
        element("span", "solid: truth; dashed: prediction of this modality's network", class_="key"),
        _RAMP,
        element("span", "(largest value of all classes)", class_="key"),
    )


def _digest(source: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii") + "'"


def _policy(scripts: Sequence[str]) -> str:
    """Content-Security-Policy: the browser refuses all network access, and all scripts except these."""
    allowed = {
        "default-src": "'none'",
        "script-src": " ".join(_digest(source) for source in scripts),
        "style-src": "'unsafe-inline'",
        "img-src": "data: blob:",
        "connect-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _notices(runs: Sequence[RunFacts], images: bool) -> Html:
    items = [element("li", element("b", run.name), ": ", note, class_="warning") for run in runs for note in run.notes]
    if len(items) > _NOTICES:
        folded = element("ul", items, class_="notices")
        title = f"Notes on {len({run.key for run in runs if run.notes})} of {len(runs)} runs"
        items = [element("li", element("details", element("summary", title), folded), class_="warning")]
    if images:
        items.insert(0, element("li", _PRIVATE))
    return element("ul", items, class_="notices") if items else Html("")


def _whole(runs: Sequence[RunFacts]) -> list[RunFacts]:
    """The runs without the folds of cross-validations, whose scores are pooled."""
    return [run for run in runs if not run.part_of]


class _Page:
    def __init__(self, runs: Sequence[RunFacts], command: str, cases: Sequence[Sequence[RankedCase]], pictures):
        self._runs, self._command, self._cases, self._pictures = runs, command, cases, pictures

    def _sections(self, volumes: ViewerVolumes, keys) -> list[tuple[str, str, Html]]:
        runs = self._runs
        # The folds of a cross-validation have different patients. Comparisons use the pooled scores.
        whole, trained = _whole(runs), [run for run in runs if not (run.masks or run.is_pooled)]
        cost = annotation_curve.section(whole)
        notes = []
        shown = dict.fromkeys(run.kept_classes for run in runs if run.images)
        if self._cases and any(case.kept for run in self._cases for case in run):
            notes = [
                *(element("div", _keys(classes), class_="legend") for classes in shown),
                element(
                    "p",
                    "Pictures show the slice with the largest true area. If another slice has more wrong voxels, they "
                    "also show the slice with the most wrong voxels. ",
                    viewer_volumes.sentence(volumes),
                ),
                element(
                    "p",
                    "Masks are the scored masks after post-processing, shown on the network's grid. They may look "
                    "coarser than on the patient's own grid, where they were scored. The patient's right is on the "
                    "left, as in radiology. A click on pictures, or the button above them, opens the viewer.",
                    class_="note",
                ),
            ]
            if self._pictures.left_out:
                left_out = (
                    f"{self._pictures.left_out} patients have no pictures, because the page has no room for them."
                )
                notes.append(element("p", left_out))
        sections = [
            ("summary", "Scores", summary.section(runs)),
            ("failures", "Missed, false alarms, failures", summary.failures(whole)),
            ("patients", "Patient by patient", strip_plots.section(whole)),
            ("comparison", "Runs against each other", run_comparison.section(whole)),
            ("cost", "Annotation cost", cost),
            ("gap", "Modality gap", modality_gap.section(trained)),
            ("curves", "Learning curves", learning_curves.section(trained)),
            ("calibration", "Calibration", calibration_plots.section(trained)),
            ("cases", "Patients, worst first", join(notes, ranked_cases.section(self._cases, self._pictures, keys))),
            ("policy", "What the numbers mean", summary.definitions(runs)),
            (
                "provenance",
                "Commands, seeds, hashes",
                join(element("h3", "This page"), block(self._command), provenance.section(runs)),
            ),
        ]
        return [(key, title, body) for key, title, body in sections if body is not None]

    def html(self, volumes: ViewerVolumes, keys) -> str:
        """The page with these volumes. The viewer can open the patients in `keys`."""
        runs = self._runs
        images = any(case.kept for run in self._cases for case in run)
        sections = self._sections(volumes, keys)
        scripts = [viewer.asset("page.js")]
        if keys:
            scripts += [viewer.asset("outlines.js"), viewer.asset("viewer.js")]
        policy = _policy([*scripts, *([viewer.niivue_source()] if keys else [])])
        whole = _whole(runs)
        title = (
            f"Report: {', '.join(run.name for run in whole)}"
            if len(whole) <= _NAMES
            else f"Report of {len(whole)} runs"
        )
        head = join(
            element("meta", charset="utf-8"),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", http_equiv="Content-Security-Policy", content=policy),
            element("title", title),
            Html(f"<style>{viewer.asset('page.css')}</style>"),
        )
        body = join(
            element("h1", title),
            element("p", headline.origin(whole), f" semicml_tf {__version__}; research only.", class_="note"),
            headline.lines(whole),
            _notices(runs, images),
            element("nav", [element("a", title, href=f"#{key}") for key, title, _ in sections], aria_label="sections"),
            element(
                "main", [element("section", element("h2", title), content, id=key) for key, title, content in sections]
            ),
            join(viewer.dialog(), "\n", viewer.data(volumes)) if keys else None,
            element("footer", viewer.niivue_note()) if keys else None,
            # Without escaping, because the policy has their hashes.
            [Html(f"<script>{source}</script>") for source in scripts],
        )
        return f'<!DOCTYPE html>\n<html lang="en">\n<head>{head}</head>\n<body>\n{body}\n</body>\n</html>\n'


def build(runs: Sequence[RunFacts], *, command: str, images: bool = True, largest_bytes: int = LARGEST_BYTES) -> bytes:
    """The page as UTF-8. The same files give the same bytes.

    Args:
        runs: at least one; their names differ.
        command: that repeats the page.
        images: whether the page shows images of patients.
        largest_bytes: limit of the page. Pictures and volumes beyond it are left out.

    Raises:
        UserError: the page is larger even without pictures and volumes.
    """
    cases = [ranked(run, images=images) for run in runs if not run.is_pooled]
    pictures = ranked_cases.Pictures(int(largest_bytes * _SHARE_OF_PICTURES))
    pictures.draw(sorted((case for run in cases for case in run), key=lambda case: (case.place, case.run.key)))
    page = _Page(runs, command, cases, pictures)
    wanted = viewer_volumes.wanted(cases)
    nothing = ViewerVolumes((), {}, frozenset(), tuple(wanted))
    without = len(page.html(nothing, {case.key for case in wanted}).encode("utf-8", "replace"))
    volumes = viewer_volumes.choose(cases, largest_bytes - without)
    # Names from file names and JSON may contain lone surrogates.
    page_bytes = page.html(volumes, volumes.keys).encode("utf-8", "replace")
    if len(page_bytes) > largest_bytes:
        raise UserError(
            f"the page would have {len(page_bytes) / 1e6:.1f} MB, expected at most {largest_bytes / 1e6:.1f} MB",
            remedy="Pass fewer runs",
        )
    return page_bytes
