"""The values of one image file: decoded, checked for being grey, and rescaled by its own slope and intercept."""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files import dicom_library as library

TAGS = ("SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "RescaleSlope", "RescaleIntercept")

_PIXEL_MODULE = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelData",
)


def check_grey(path: pathlib.Path, dataset) -> None:
    """Refuses colour.

    Raises:
        UserError: more than one number a pixel, or numbers that are entries of a colour table.
    """
    samples = library.number(dataset, "SamplesPerPixel") or 1
    if samples != 1 or library.value(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2", None):
        raise UserError(
            "expected a grey image, got a colour one (RGB, YBR or palette)",
            path=path,
            remedy="Leave out secondary captures and screenshots",
        )


def frames(dataset) -> int:
    """Number of frames of an image."""
    return int(library.number(dataset, "NumberOfFrames") or 1)


def _by_gdcm(dataset) -> np.ndarray:
    """Stored values by the codecs in SimpleITK. Its file on disk holds the pixels and nothing of the patient."""
    module, simpleitk = library.pydicom(), library.simpleitk()
    bare = module.dataset.Dataset()
    for keyword in _PIXEL_MODULE:
        if keyword in dataset:
            bare[keyword] = dataset[keyword]
    bare.SOPClassUID = module.uid.SecondaryCaptureImageStorage
    bare.SOPInstanceUID = "2.25.1"
    bare.file_meta = module.dataset.FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = bare.SOPInstanceUID
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "pixels.dcm"
        bare.save_as(file, enforce_file_format=True)
        reader = simpleitk.ImageFileReader()
        reader.SetImageIO("GDCMImageIO")
        reader.SetFileName(str(file))
        return simpleitk.GetArrayFromImage(reader.Execute())[0]


def _stored(path: pathlib.Path, dataset) -> np.ndarray:
    if "PixelData" not in dataset:
        raise UserError("the file holds no pixels", path=path, remedy="Copy or export it again")
    decoders = library.pydicom().pixels
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if syntax is None:
        raise UserError("the file does not tell how its pixels are coded", path=path, remedy="Export it again")
    try:
        available = not syntax.is_compressed or decoders.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    try:
        return dataset.pixel_array if available else _by_gdcm(dataset)
    except UserError:
        raise
    except Exception:
        if syntax.is_compressed and not available:
            raise UserError(
                f"its pixels are compressed by {syntax.name}, which nothing that is installed here decodes",
                path=path,
                remedy='Run pip install python-gdcm "pylibjpeg[all]", or decompress the files (gdcmconv --raw)',
            ) from None
        raise UserError(
            "its pixels cannot be decoded: the file is cut off or damaged", path=path, remedy="Copy or export it again"
        ) from None


def slope_and_intercept(path: pathlib.Path, dataset) -> tuple[float, float]:
    """From stored to physical values; 1 and 0 where the header tells none.

    Raises:
        UserError: the header holds a table in their place, or one of them is no number.
    """
    if library.value(dataset, "ModalityLUTSequence") is not None:
        raise UserError(
            f"expected a rescale slope, got a table ({library.tag_name('ModalityLUTSequence')})",
            path=path,
            remedy="Export the series with RescaleSlope and RescaleIntercept",
        )
    found = []
    for keyword, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        number = library.number(dataset, keyword)
        if number is None and keyword in dataset and dataset.get_item(keyword).value not in (None, b"", ""):
            raise UserError(f"the tag {library.tag_name(keyword)} holds no number", path=path, remedy="Correct the tag")
        found.append(default if number is None else number)
    if found[0] == 0:
        raise UserError(f"the tag {library.tag_name('RescaleSlope')} is 0", path=path, remedy="Correct the tag")
    return found[0], found[1]


def read(path: pathlib.Path, dataset, factor: float = 1.0) -> np.ndarray:
    """A single frame's values.

    Args:
        path: the file, for messages.
        dataset: all of it.
        factor: further factor on the rescaled values, e.g. from Bq/ml to SUV.

    Returns:
        (rows, columns) float32, rescaled in float64.

    Raises:
        UserError: colour; pixels that are cut off, or compressed in a way that cannot be read here.
    """
    check_grey(path, dataset)
    stored = _stored(path, dataset)
    slope, intercept = slope_and_intercept(path, dataset)
    return ((stored.astype(np.float64) * slope + intercept) * factor).astype(np.float32)
