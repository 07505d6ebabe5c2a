"""Cases of imaginary patients, as the tests of partitions and pseudonyms need them."""

import pathlib

from semicml_tf.files.case import CaseFiles
from semicml_tf.files.source import NiftiFile


def case(name, patient="", *, root=pathlib.Path("data"), label=True, modalities=("ct", "pet"), **more):
    """A case whose files lie at ROOT/NAME_MODALITY.nii.gz; they are there if `touch` made them."""
    return CaseFiles(
        case_id=name,
        images={modality: NiftiFile(pathlib.Path(root) / f"{name}_{modality}.nii.gz") for modality in modalities},
        label=NiftiFile(pathlib.Path(root) / f"{name}_label.nii.gz") if label else None,
        patient_id=patient,
        **more,
    )


def touch(cases):
    """Makes all of their files, empty; returns the cases."""
    for one in cases:
        for source in (*one.images.values(), *([one.label] if one.label else [])):
            source.path.parent.mkdir(parents=True, exist_ok=True)
            source.path.touch()
    return cases


def numbered(root, count, without_label=0):
    """C000, C001, ..., the first ones without a label file."""
    return touch([case(f"C{number:03d}", root=root, label=number >= without_label) for number in range(count)])
