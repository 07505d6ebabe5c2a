"""The HTML page with the images of all cases, without scripts, styles or fonts from other sites."""

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

_INSTRUCTIONS = """
Check each case once before training. In the overlay, the outlines of the body must coincide, and the colour must lie on
its structure. In the chessboard, edges must continue from field to field. The contour of the label must fit in every
image. Otherwise, the images are not registered, or the label is displaced. Click an image to open it in full size.
"""


class Pictured(Protocol):
    """The attributes of a case that the page needs; `conversion.execution.tasks.CaseJob` has them."""

    case: object  # with `case_id`
    partition: str
    preview: str


def write_page(path: pathlib.Path, jobs: Sequence[Pictured], findings: Iterable[Finding] = ()) -> None:
    """Writes the page. The same cases and findings give the same bytes.

    Args:
        path: of the page. The images are in the same folder.
        jobs: the cases. The last part of `preview` is the file name of the image; "" for no image.
        findings: of verification, in a form that may be shown. Those of cases without an image are listed first.

    Raises:
        UserError: the page cannot be written.
    """
    shown = sorted((job for job in jobs if job.preview), key=lambda job: job.case.case_id)
    names = {job.case.case_id for job in shown}
    by_case: dict[str, list[Finding]] = {}
    for finding in findings:
        by_case.setdefault(finding.case if finding.case in names else "", []).append(finding)
    groups = {name: [job for job in shown if job.partition == name] for name in PARTITIONS}
    cases_with_findings = [name for name in sorted(names) if name in by_case]
    body = [
        "<h1>Preview of the dataset</h1>",
        f"<p>{_text(_INSTRUCTIONS.strip())}.</p>",
        "<nav>"
        + "".join(f'<a href="#{name}">{name} {len(members)}</a>' for name, members in groups.items() if members)
        + "</nav>",
        _list(by_case.get("", ()), with_case=True),
    ]
    if cases_with_findings:
        links = ", ".join(f'<a href="#{_anchor(name)}">{_text(name)}</a>' for name in cases_with_findings)
        body.append(f"<p>{len(cases_with_findings)} of {len(shown)} cases have findings: {links}</p>")
    for name, members in groups.items():
        if members:
            figures = "\n".join(_figure(path.parent, job, by_case.get(job.case.case_id, ())) for job in members)
            body.append(
                f'<details open id="{name}"><summary>{name} ({len(members)})</summary>\n'
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
    """The findings, errors first, without their files, which are in verify.json."""
    if not findings:
        return ""
    items = []
    for finding in sorted(findings, key=lambda item: (item.severity != ERROR, item.case, item.code, item.problem)):
        case = f"<b>{_text(finding.case)}</b> " if with_case and finding.case else ""
        remedy = f" {_text(finding.remedy)}." if finding.remedy else ""
        items.append(
            f'<li class="{_text(finding.severity)}">{case}<code>{_text(finding.code)}</code>'
            f"{_text(finding.problem)}.{remedy}</li>"
        )
    return "<ul>" + "".join(items) + "</ul>"


def _size(path: pathlib.Path) -> str:
    """Attributes with the size of an image, which reserve space while it loads; "" if it cannot be read."""
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
