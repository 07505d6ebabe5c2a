"""The patients, worst first: a table of their scores, and a card with pictures per patient."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from semicml_tf.evaluation.case_images import BEST, WORST
from semicml_tf.reporting import columns, slice_pictures
from semicml_tf.reporting.markup import Html, by_run, element, join, number, sortable
from semicml_tf.reporting.ranking import RankedCase
from semicml_tf.system.tables import Cell, Table

# With more patients, those between the worst and the best are folded.
_OPEN = WORST + BEST
# Columns of the first table. The table of all columns is folded below it.
_FIRST = ("dice", "hd95_mm", "volume_error_ml", "lesions_missed", "lesions_false")


def _tables(cases: Sequence[RankedCase]) -> Html:
    """A table of the most important numbers, and a folded table of all numbers below it."""
    run = cases[0].run
    all_names = [name for name in columns.of_cases(run.networks) if name != "truth_ml"]
    first = [name for name in _FIRST if name in all_names]
    short = _table(f"All patients of {run.name}, worst first", cases, first)
    if first == all_names:
        return short
    whole = _table(f"All measures of all patients of {run.name}", cases, all_names)
    return join(short, element("details", element("summary", "All measures"), whole))


def _table(caption: str, cases: Sequence[RankedCase], names: Sequence[str]) -> Html:
    networks = [str(row.get("name")) for row in cases[0].run.networks]
    # Without a missed patient or a false alarm, outcomes are left out.
    with_outcome = {score.get("outcome") for case in cases for score in case.scores.values()} != {"both present"}
    headings = ["place", "patient", "mean DSC", "truth ml"]
    titles = [*(["outcome"] if with_outcome else []), *map(columns.title, names)]
    headings += [f"{network} {title}" for network in networks for title in titles]
    body = []
    for case in cases:
        truth = next(
            (score["truth_ml"] for score in case.scores.values() if columns.is_number(score.get("truth_ml"))), None
        )
        cells = [
            Cell(str(case.place), float(case.place)),
            Cell(element("a", case.case_id, href=f"#{case.key}"), case.case_id),
            Cell(number(case.mean_dice), case.mean_dice),
            Cell(number(truth, 1), truth),
        ]
        for network in networks:
            score = case.scores.get(network, {})
            cells += [score.get("outcome", "not scored")] if with_outcome else []
            cells += [
                Cell(columns.plain(name, score[name]), score[name]) if columns.is_number(score.get(name)) else Cell("–")
                for name in names
            ]
        body.append(cells)
    return sortable(Table(headings, body, caption=caption))


def _scores(case: RankedCase) -> Html:
    parts = []
    for name, score in case.scores.items():
        outcome = score.get("outcome")
        note = "" if outcome in (None, "both present") else f" ({outcome})"
        text = f" DSC {number(score.get('dice'))}"
        by_class = ", ".join(
            f"{class_name} {number(dice)}" for class_name, dice in case.of_classes.get(name, {}).items()
        )
        text += f" ({by_class})" if by_class else ""
        text += f", HD95 {number(score.get('hd95_mm'), 1)} mm" if columns.is_number(score.get("hd95_mm")) else ""
        text += (
            f", predicted {number(score.get('prediction_ml'), 1)} ml"
            if columns.is_number(score.get("prediction_ml"))
            else ""
        )
        parts.append(element("span", element("b", name), text, note))
    return element("span", parts, class_="scores")


def _pictures(pictures: Sequence[slice_pictures.Picture]) -> Html:
    return element(
        "div",
        [
            element(
                "figure",
                element("img", src=picture.uri, alt=picture.alternative, width=picture.width, height=picture.height),
                element("figcaption", picture.title),
            )
            for picture in pictures
        ],
        class_="pictures",
    )


def _card(case: RankedCase, pictures: Sequence[slice_pictures.Picture], in_viewer: bool) -> Html:
    truth = next(
        (score["truth_ml"] for score in case.scores.values() if columns.is_number(score.get("truth_ml"))), None
    )
    details = f", truth {number(truth, 1)} ml" if truth is not None else ""
    details += f", slice {case.kept.slice_index + 1} of {case.kept.slices}" if pictures else ""
    opener = element(
        "button",
        "Open in the viewer",
        type="button",
        class_="open",
        data_case=case.key,
        aria_label=f"Open {case.case_id} of {case.run.name} in the viewer",
    )
    return element(
        "article",
        element(
            "div",
            element("h4", f"{case.place}. {case.case_id}"),
            element("span", f"mean DSC {number(case.mean_dice)}{details}", class_="note"),
            opener if in_viewer else None,
            _scores(case),
            class_="case-head",
        ),
        _pictures(pictures) if pictures else None,
        id=case.key,
        class_="case viewable" if in_viewer else "case",
        data_case=case.key if in_viewer else None,
    )


class Pictures:
    """Pictures of patients within the size of the page.

    Attributes:
        left_out: number of patients whose pictures did not fit.
    """

    def __init__(self, room: int):
        self._room = room
        self._made: dict[str, list[slice_pictures.Picture]] = {}
        self.left_out = 0

    def draw(self, cases: Sequence[RankedCase]) -> None:
        """Draws the pictures of the patients in this order, until the page is full."""
        for case in cases:
            if case.kept is None or case.key in self._made:
                continue
            drawn = slice_pictures.pictures(case.kept)
            size = sum(len(picture.uri) + 400 for picture in drawn)
            if self.left_out or size > self._room:
                self.left_out += 1
                drawn = []
            self._room -= size if drawn else 0
            self._made[case.key] = drawn

    def of(self, case: RankedCase) -> list[slice_pictures.Picture]:
        """The pictures of a patient."""
        return self._made.get(case.key, [])


def section(ranked: Sequence[Sequence[RankedCase]], pictures: Pictures, in_viewer: Collection[str]) -> Html:
    """Table and cards of every run."""
    parts_by_run = []
    for cases in (cases for cases in ranked if cases):
        cards = [_card(case, pictures.of(case), case.key in in_viewer) for case in cases]
        parts = [_tables(cases)]
        if len(cards) <= _OPEN:
            parts.append(element("div", cards, class_="cases"))
        else:
            between = cards[WORST:-BEST]
            parts += [
                element("div", cards[:WORST], class_="cases"),
                element(
                    "details",
                    element("summary", f"Between the worst and the best: {len(between)}"),
                    element("div", between, class_="cases"),
                    class_="printed",
                ),
                element("div", cards[-BEST:], class_="cases"),
            ]
        parts_by_run.append((cases[0].run.name, parts))
    return by_run(parts_by_run) if parts_by_run else element("p", "No scores yet.")
