"""Files that are given as NIfTI and are something else: told by their first bytes, for messages."""

from __future__ import annotations

import os

_DICOM = ("a DICOM file", "Give the folder of its series, which the layout dicom reads, or convert it to NIfTI")
_PICTURE = "Pictures tell no spacing and no place: use the volume that this was made from"
_DOWNLOAD = "The download did not work: get the file itself"
_CONVERT = "Convert it to NIfTI (.nii.gz)"
_STARTS = (
    (b"\x89PNG", "a PNG picture", _PICTURE),
    (b"\xff\xd8\xff", "a JPEG picture", _PICTURE),
    (b"II*\0", "a TIFF picture", _PICTURE),
    (b"MM\0*", "a TIFF picture", _PICTURE),
    (b"NRRD", "an NRRD file", _CONVERT),
    (b"ObjectType", "a MetaImage file", _CONVERT),
    (b"\x89HDF", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", "An array alone tells no spacing and no place: use its NIfTI file"),
    (b"PK\x03\x04", "a zip archive", "Unpack it"),
    (b"version https://git-lfs", "a pointer of git-lfs", "Run 'git lfs pull' where it comes from"),
    (b"<!DOCTYPE", "a web page", _DOWNLOAD),
    (b"<!doctype", "a web page", _DOWNLOAD),
    (b"<html", "a web page", _DOWNLOAD),
    (b"<?xml", "an XML file", _DOWNLOAD),
)


def recognise(content: bytes, path: str | os.PathLike) -> tuple[str, str] | None:
    """What these bytes are, and what to do about it; None where they are unknown.

    Args:
        content: the first bytes of the file, unzipped; some hundred are enough.
        path: of the file; its name tells halves of pairs.
    """
    if content[128:132] == b"DICM":
        return _DICOM
    for start, name, remedy in _STARTS:
        if content.startswith(start):
            return name, remedy
    name = os.fspath(path).lower().removesuffix(".gz")
    if content[344:347] == b"ni1" or name.endswith((".hdr", ".img")):
        # Analyze 7.5 and NIfTI pairs: header and voxels in two files.
        return "one half of a .hdr/.img pair", "Convert the pair into one file: nib-convert NAME.hdr NAME.nii.gz"
    return None
