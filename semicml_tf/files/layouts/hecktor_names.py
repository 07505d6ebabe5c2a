"""Cases that share folders, their files named ``CASE`` + what they are: what all years of HECKTOR share."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence

from semicml_tf.errors import UserError
from semicml_tf.files.case import CaseFiles
from semicml_tf.files.layouts import folder as folders
from semicml_tf.files.layouts import modality_names
from semicml_tf.files.source import NiftiFile


def case_ids(there: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """The cases that have a file with one of the suffixes.

    Args:
        there: names of the files of a folder.
        suffixes: of file names without their ending, e.g. ``__CT``.
    """
    stems = [folders.stem(name) for name in there if folders.is_nifti(name)]
    return sorted({stem.removesuffix(suffix) for stem in stems for suffix in suffixes if stem.endswith(suffix)} - {""})


def cases_of(
    images: pathlib.Path, labels: pathlib.Path, asked: Mapping[str, str], suffixes: Mapping[str, str], label: str
) -> list[CaseFiles]:
    """The cases of a folder.

    Args:
        images: folder of the images.
        labels: folder of the labels.
        asked: our name of a modality by the name asked with.
        suffixes: of the images' names, by our names; with ``ct``, on whose grid HECKTOR draws.
        label: suffix of the labels' names.

    Raises:
        UserError: a file that is there twice.
    """
    there = frozenset(folders.nifti_files(images))
    labels_there = there if labels == images else frozenset(folders.nifti_files(labels))

    def image(case, name):
        return NiftiFile(folders.existing_or_expected(images, case + suffixes[name], there))

    return [
        CaseFiles(
            case_id=folders.case_name(case),
            images={name: image(case, ours) for name, ours in asked.items()},
            label=NiftiFile(folders.existing_or_expected(labels, case + label, labels_there)),
            # Whatever else is converted, the labels share the CT's grid.
            label_on=image(case, "ct"),
        )
        for case in case_ids(sorted(there), tuple(suffixes.values()))
    ]


def merged(parts: Sequence[list[CaseFiles]]) -> list[CaseFiles]:
    """The cases of several folders, sorted by name.

    Raises:
        UserError: two folders have a case of one name.
    """
    found: dict[str, CaseFiles] = {}
    for case in (case for part in parts for case in part):
        if case.case_id in found:
            raise UserError(
                f"case {case.case_id} is there twice, also beside {found[case.case_id].label_on.path}",
                path=case.label_on.path,
                remedy="Remove or rename one of them",
            )
        found[case.case_id] = case
    return [found[name] for name in sorted(found)]


def modalities_of(cases: Sequence[CaseFiles]) -> tuple[str, ...]:
    """The modalities that at least one of the cases has."""
    names = dict.fromkeys(name for case in cases for name in case.images)
    return tuple(name for name in names if any(case.held((name,)) for case in cases))


def asked(names: Sequence[str], suffixes: Mapping[str, str], layout: str, root: pathlib.Path) -> dict[str, str]:
    """See `modality_names.among`."""
    return modality_names.among(names, tuple(suffixes), layout=layout, path=root)
