"""The page of all cases' pictures: one HTML file beside them, without script, style or font from elsewhere."""

from __future__ import annotations

import html
import pathlib
import struct
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Protocol

from semicml_tf.conversion.verification.findings import ERROR, Finding
from semicml_tf.records.case_record import PARTITIONS
from semicml_tf.system import atomic_files

_STYLE = """
:root { color-scheme: dark; }
body { margin: 0 auto; padding: 0 1.2rem 3rem; max-width: 110rem; background: #14161a; color: #f0f0f0;
       font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 1.2rem 0 .3rem; }
p { max-width: 62rem; color: #c4c9d0; margin: .4rem 0; }
a { color: #7cc7ff; }
nav a { margin-right: 1.2rem; }
summary { position: sticky; top: 0; z-index: 1; padding: .5rem 0; background: #14161a; font-size: 1.15rem;
          cursor: pointer; }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(40rem, 100%), 1fr)); gap: 1.4rem; }
figure { margin: 0; scroll-margin-top: 3rem; }
figure:target { outline: 2px solid #7cc7ff; outline-offset: .4rem; }
img { display: block; width: 100%; height: auto; background: #000; }
figcaption { padding: .35rem 0; overflow-wrap: anywhere; }
ul { list-style: none; margin: .3rem 0; padding: 0; font-size: .92rem; }
li { padding: .2rem .6rem; margin: .2rem 0; border-left: 4px solid #d9a400; background: #1f2229; }
li.error { border-color: #ff5a4d; }
li code { margin-right: .5rem; }
"""

_HOW = """
Look at each case once before training. In the overlay, the outlines of one body must lie on each other, and colour on
the structure that it belongs to; in the chessboard, edges must run on from field to field; the label's contour must fit
in every picture. Where they do not, the images are not registered, or the label lies elsewhere. A picture opens in full
size on a click.
"""


class Pictured(Protocol):
    """What the page needs of a case: `conversion.execution.tasks.CaseJob` has it."""

    case: object  # with `case_id`
    partition: str
    preview: str


def write_page(path: pathlib.Path, jobs: Sequence[Pictured], findings: Iterable[Finding] = ()) -> None:
    """Writes the page. The same cases and findings give the same bytes.

    Args:
        path: of the page; the pictures lie in the same folder.
        jobs: the cases that have a picture, whose file's name is the last part of `preview`.
        findings: of verification, as they may be told; those of cases without a picture are told at the top.

    Raises:
        UserError: it cannot be written.
    """
    shown = sorted((job for job in jobs if job.preview), key=lambda job: job.case.case_id)
    names = {job.case.case_id for job in shown}
    by_case: dict[str, list[Finding]] = {}
    for finding in findings:
        by_case.setdefault(finding.case if finding.case in names else "", []).append(finding)
    groups = {name: [job for job in shown if job.partition == name] for name in PARTITIONS}
    odd = [name for name in sorted(names) if name in by_case]
    body = [
        "<h1>Preview of the dataset</h1>",
        f"<p>{_text(_HOW.strip())}.</p>",
        "<nav>"
        + "".join(f'<a href="#{name}">{name} {len(held)}</a>' for name, held in groups.items() if held)
        + "</nav>",
        _list(by_case.get("", ()), with_case=True),
    ]
    if odd:
        links = ", ".join(f'<a href="#{_anchor(name)}">{_text(name)}</a>' for name in odd)
        body.append(f"<p>Verification found something in {len(odd)} of {len(shown)} cases: {links}</p>")
    for name, held in groups.items():
        if held:
            figures = "\n".join(_figure(path.parent, job, by_case.get(job.case.case_id, ())) for job in held)
            body.append(
                f'<details open id="{name}"><summary>{name} ({len(held)})</summary>\n'
                f'<div class="cases">\n{figures}\n</div></details>'
            )
    atomic_files.write_text(
        path,
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Preview of the dataset</title>\n<style>{_STYLE}</style></head>\n<body>\n"
        + "\n".join(part for part in body if part)
        + "\n</body>\n</html>\n",
    )


def _figure(folder: pathlib.Path, job: Pictured, findings: Sequence[Finding]) -> str:
    name = pathlib.PurePosixPath(job.preview).name
    link = urllib.parse.quote(name)
    case = _text(job.case.case_id)
    return (
        f'<figure id="{_anchor(job.case.case_id)}"><a href="{link}">'
        f'<img src="{link}" alt="{case}" loading="lazy"{_size(folder / name)}></a>\n'
        f"<figcaption><b>{case}</b>{_list(findings)}</figcaption></figure>"
    )


def _list(findings: Sequence[Finding], *, with_case: bool = False) -> str:
    """The findings, errors first. Their files are left out: they stand in verify.json."""
    if not findings:
        return ""
    items = []
    for finding in sorted(findings, key=lambda one: (one.severity != ERROR, one.case, one.code, one.problem)):
        case = f"<b>{_text(finding.case)}</b> " if with_case and finding.case else ""
        remedy = f" {_text(finding.remedy)}." if finding.remedy else ""
        items.append(
            f'<li class="{_text(finding.severity)}">{case}<code>{_text(finding.code)}</code>'
            f"{_text(finding.problem)}.{remedy}</li>"
        )
    return "<ul>" + "".join(items) + "</ul>"


def _size(path: pathlib.Path) -> str:
    """The picture's size, so that pictures still to be loaded keep their place; "" where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(24)
    except OSError:
        return ""
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        return ""
    width, height = struct.unpack(">II", head[16:])
    return f' width="{width}" height="{height}"'


def _anchor(case_id: str) -> str:
    return "case-" + urllib.parse.quote(case_id, safe="")


def _text(text: str) -> str:
    return html.escape(text.rstrip("."))
