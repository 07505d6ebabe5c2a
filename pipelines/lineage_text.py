"""A model's lineage in words."""

from __future__ import annotations

from collections.abc import Mapping


def text(body: Mapping) -> str:
    """A paragraph a role, from what is served back to the data."""
    model, evaluation = body["model"], body["evaluation"]
    lines = [f"{model['folder']}: {model['modality']}, version {model['version']}"]
    lines += [f"  published   {_when(body['published_by'])}"]
    verdict = evaluation["verdict"]
    lines += judged(verdict) if verdict else []
    lines.append(f"              {_when(evaluation)}")
    lines.append(f"              {evaluation['folder']}")
    former = evaluation["compared_with"]
    if former:
        lines.append(f"              beside run {former['run_hash'][:12]}, {former['folder']}")
    check = body["serving_check"]
    lines.append(f"  served by   {'all checks passed' if check['passed'] else 'checks failed'}, {_when(check)}")
    lines += _trained("run", body["run"])
    if "teacher" in body:
        lines += _trained("teacher", body["teacher"])
    if "pseudo_labels" in body:
        labels = body["pseudo_labels"]
        lines.append(
            f"  labels      {labels['patients']} patients, {labels['label']}, by run {labels['teacher_run_hash'][:12]}"
        )
        lines.append(f"              {labels['folder']}")
    data = body["data"]
    cases = ", ".join(f"{name} {count}" for name, count in data["cases"].items())
    span = "" if data["span"] is None else f", deliveries up to span {data['span']}"
    lines.append(f"  data        hash {str(data['data_hash'])[:12]}{span}: {cases}")
    if data["deliveries"]:
        lines.append(f"              from {data['deliveries']}")
    lines.append(f"              {data['folder']}")
    for one in data["checks"]:
        said = {True: ", passed", False: ", did not pass"}.get(one.get("passed"), "")
        lines.append(f"  checked     {one['component']}{said}: {one['folder']}")
        if "schema" in one:
            lines.append(f"              by {one['schema']}")
    return "\n".join(lines)


def judged(verdict: Mapping) -> list[str]:
    """The lines of a verdict."""
    lines = []
    for check in verdict["checks"]:
        if check["value"] is not None and check["bound"] is not None:
            sign = ">=" if check["passed"] else "<"
            lines.append(f"  judged      {check['check']}: {check['value']:.3f} {sign} {check['bound']:.3f}")
    if verdict["test_dice"] is not None:
        lines.append(f"              mean DSC of test patients: {verdict['test_dice']:.3f} (decided nothing)")
    return lines


def _when(step: Mapping) -> str:
    return f"{step['component']}, {step['at']} ({step['seconds']:g} s), in run {step['pipeline_run']}"


def _trained(role: str, run: Mapping) -> list[str]:
    dice = ", ".join(f"{name} {value:.3f}" for name, value in run["validation_dice"].items())
    return [
        f"  {role:10}  {run['run_hash'][:12]}, validation DSC {dice}",
        f"              {_when(run)}",
        f"              {run['folder']}",
    ]
