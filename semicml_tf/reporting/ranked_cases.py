"""The patients, worst first: their scores in a table, and a card with pictures for each."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from semicml_tf.evaluation.case_images import BEST, WORST
from semicml_tf.reporting import by_run, columns, slice_pictures, tables
from semicml_tf.reporting.markup import Html, element, number
from semicml_tf.reporting.ranking import RankedCase
from semicml_tf.reporting.tables import Cell

# A page with more patients keeps those between the worst and the best folded.
_OPEN = WORST + BEST


def _table(cases: Sequence[RankedCase]) -> Html:
    run = cases[0].run
    names = [name for name in columns.of_cases(run.networks) if name != "truth_ml"]
    networks = [str(row.get("name")) for row in run.networks]
    headings = ["place", "patient", "mean DSC", "truth ml"]
    headings += [f"{network} {title}" for network in networks for title in ["outcome", *map(columns.title, names)]]
    body = []
    for case in cases:
        truth = next((one["truth_ml"] for one in case.scores.values() if columns.is_number(one.get("truth_ml"))), None)
        cells = [
            Cell(str(case.place), float(case.place)),
            Cell(element("a", case.case_id, href=f"#{case.key}"), case.case_id),
            Cell(number(case.mean_dice), case.mean_dice),
            Cell(number(truth, 1), truth),
        ]
        for network in networks:
            score = case.scores.get(network, {})
            cells.append(tables.text_cell(score.get("outcome", "not scored")))
            cells += [
                Cell(columns.plain(name, score[name]), score[name]) if columns.is_number(score.get(name)) else Cell("–")
                for name in names
            ]
        body.append(cells)
    return tables.sortable(f"All patients of {run.name}, worst first", headings, body)


def _scores(case: RankedCase) -> Html:
    parts = []
    for name, score in case.scores.items():
        outcome = score.get("outcome")
        note = "" if outcome in (None, "both present") else f" ({outcome})"
        distance = f", HD95 {number(score.get('hd95_mm'), 1)} mm" if columns.is_number(score.get("hd95_mm")) else ""
        parts.append(element("span", element("b", name), f" DSC {number(score.get('dice'))}{distance}{note}"))
    return element("span", parts, class_="scores")


def _pictures(pictures: Sequence[slice_pictures.Picture]) -> Html:
    return element(
        "div",
        [
            element(
                "figure",
                element("img", src=one.uri, alt=one.alternative, width=one.width, height=one.height),
                element("figcaption", one.title),
            )
            for one in pictures
        ],
        class_="pictures",
    )


def _card(case: RankedCase, pictures: Sequence[slice_pictures.Picture], in_viewer: bool) -> Html:
    where = f", slice {case.kept.slice_index + 1} of {case.kept.slices}" if pictures else ""
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
            element("span", f"mean DSC {number(case.mean_dice)}{where}", class_="note"),
            _scores(case),
            opener if in_viewer else None,
            class_="case-head",
        ),
        _pictures(pictures) if pictures else None,
        id=case.key,
        class_="case viewable" if in_viewer else "case",
        data_case=case.key if in_viewer else None,
    )


class Pictures:
    """Pictures of patients while there is room for them in the page.

    Attributes:
        left_out: how many patients had pictures for which there was no room.
    """

    def __init__(self, room: int):
        self._room = room
        self._made: dict[str, list[slice_pictures.Picture]] = {}
        self.left_out = 0

    def draw(self, cases: Sequence[RankedCase]) -> None:
        """Draws those of the patients, the most wanted first."""
        for case in cases:
            if case.kept is None or case.key in self._made:
                continue
            made = slice_pictures.pictures(case.kept)
            size = sum(len(one.uri) + 400 for one in made)
            if self.left_out or size > self._room:
                self.left_out += 1
                made = []
            self._room -= size if made else 0
            self._made[case.key] = made

    def of(self, case: RankedCase) -> list[slice_pictures.Picture]:
        """What was drawn of a patient."""
        return self._made.get(case.key, [])


def section(ranked: Sequence[Sequence[RankedCase]], pictures: Pictures, in_viewer: Collection[str]) -> Html:
    """Table and cards of every run."""
    held = []
    for cases in (cases for cases in ranked if cases):
        cards = [_card(case, pictures.of(case), case.key in in_viewer) for case in cases]
        parts = [_table(cases)]
        if len(cards) <= _OPEN:
            parts.append(element("div", cards, class_="cases"))
        else:
            between = cards[WORST:-BEST]
            parts += [
                element("div", cards[:WORST], class_="cases"),
                element(
                    "details",
                    element("summary", f"{len(between)} patients between the worst and the best"),
                    element("div", between, class_="cases"),
                ),
                element("div", cards[-BEST:], class_="cases"),
            ]
        held.append((cases[0].run.name, parts))
    return by_run.parts(held) if held else element("p", "No scores yet.")
