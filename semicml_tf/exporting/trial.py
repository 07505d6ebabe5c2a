"""Segments cases with a new version before it is published."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from semicml_tf.errors import UserError
from semicml_tf.inference import inputs

_NAMED = 5  # cases in a line


def cases(location: str, modality: str) -> list[inputs.Case]:
    """The cases of ``--check_input`` that have an image of `modality`.

    Args:
        location: a file, a folder or a CSV manifest: what `semicml_tf.predict` and `semicml_tf.convert` take.

    Raises:
        UserError: `location` holds no such case.
    """
    found = inputs.of_layout(location, (modality,))
    if found is None:
        paths = inputs.by_modality(location, (modality,))
        found = inputs.several_cases(paths, named=inputs.split_names(location)[0][0] is not None)
    found = [case for case in found if modality not in case.lacks]
    if not found:
        raise UserError(
            f"expected cases with an image of '{modality}', got none", path=location, remedy="Correct --check_input"
        )
    return found


def run(folder: pathlib.Path, chosen: Sequence[inputs.Case]) -> None:
    """Segments each case with the model in `folder`.

    Raises:
        UserError: the model cannot segment a case; the message names each such case.
    """
    from semicml_tf.inference.exported_model import load

    if not chosen:
        return
    model = load(folder)
    failures = []
    for case in chosen:
        try:
            array, grid = case.source(model.manifest.modality).read_volume()
            model.predict(array, grid.affine)
        except UserError as error:
            failures.append(f"{case.name} ({error.line.rstrip('.')})")
    if failures:
        more = f"; and {len(failures) - _NAMED} more" if len(failures) > _NAMED else ""
        raise UserError(
            f"{len(failures)} of {len(chosen)} cases of --check_input cannot be segmented: "
            f"{'; '.join(failures[:_NAMED])}{more}",
            remedy="Nothing was published. Correct these cases, or leave them out of --check_input",
        )
