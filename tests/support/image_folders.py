"""Small images on disk for the tests of files and conversion."""

import gzip
import pathlib

import nibabel
import numpy as np

SHAPE = (10, 12, 6)
AFFINE = np.array([[-2.0, 0, 0, 9], [0, -2, 0, 11], [0, 0, 3, -8], [0, 0, 0, 1]])


def write(path, array, affine=AFFINE, *, sform=True, qform=True):
    """Writes a NIfTI file; only the header's codes named are set."""
    image = nibabel.Nifti1Image(array, affine)
    image.set_sform(affine, code=1 if sform else 0)
    image.set_qform(affine, code=1 if qform else 0)
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = image.to_bytes()
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def ct(seed=0, shape=SHAPE):
    return np.random.default_rng(seed).integers(-300, 400, shape).astype(np.int16)


def pet(seed=0, shape=SHAPE):
    return np.random.default_rng(seed + 1000).uniform(0, 20, shape).astype(np.float32)


def label(shape=SHAPE):
    mask = np.zeros(shape, np.uint8)
    mask[2:6, 3:8, 1:4] = 1
    return mask


def hecktor(root, cases=("P1", "P2", "P3", "P4")):
    """CT, PET and label of each case in the layout of HECKTOR 2022."""
    root = pathlib.Path(root)
    for number, case in enumerate(cases):
        write(root / f"imagesTr/{case}__CT.nii.gz", ct(number))
        write(root / f"imagesTr/{case}__PT.nii.gz", pet(number))
        write(root / f"labelsTr/{case}.nii.gz", label())
    return root


SPLIT = {"labelled": ["P1"], "unlabelled": ["P2"], "validation": ["P3"], "test": ["P4"]}
