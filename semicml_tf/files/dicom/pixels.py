"""Pixel values of an image: decoded and rescaled, without padding and overlays."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import frames
from semicml_tf.files.dicom import libraries as library

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
_MOST_PIXELS = 1 << 26  # per image, four times the largest detectors; a damaged header may claim 65535 x 65535
_AIR_HU = -1024
_LEAST_SLOPE = 1e-12


def check_grey(path: pathlib.Path, dataset) -> None:
    """Checks that an image is grey.

    Raises:
        UserError: a pixel has several values, or its value is an entry of a colour table.
    """
    samples = library.optional_number(path, dataset, "SamplesPerPixel") or 1
    if samples != 1 or library.value(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2", None):
        raise UserError(
            "expected a grey image, got a colour one (RGB, YBR or palette)",
            path=path,
            remedy="Leave out secondary captures and screenshots",
        )


def _by_gdcm(dataset) -> np.ndarray:
    """Decodes stored values by SimpleITK. Its temporary file has the pixels, but no data of the patient."""
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


def _bits(path: pathlib.Path, dataset) -> tuple[int, int]:
    """BitsAllocated and BitsStored. Raises `UserError` if they are invalid or the stored bits are not the lowest."""
    allocated, stored, high = (
        int(library.number(dataset, keyword) or 0) for keyword in ("BitsAllocated", "BitsStored", "HighBit")
    )
    if not 1 <= stored <= allocated <= 64 or (stored < allocated and high != stored - 1):
        raise UserError(
            f"expected BitsStored (0028,0101) of at most BitsAllocated and HighBit (0028,0102) one below BitsStored, "
            f"got {allocated} bits allocated, {stored} stored, high bit {high}",
            path=path,
            remedy="Export it again",
        )
    return allocated, stored


def _single_bits(dataset, index: int, shape: tuple[int, int]) -> np.ndarray:
    """A frame with one bit per pixel. `iter_pixels` of pydicom cannot read frames that start within a byte."""
    size = shape[0] * shape[1]
    first, last = index * size, (index + 1) * size
    data = np.frombuffer(dataset.PixelData, np.uint8)[first // 8 : -(-last // 8)]
    return np.unpackbits(data, bitorder="little")[first % 8 : first % 8 + size].reshape(shape)


def _decoded(path: pathlib.Path, dataset, indices: Sequence[int]) -> Iterator[np.ndarray]:
    """Decodes frames by index, as (rows, columns) integers."""
    if "PixelData" not in dataset:
        raise UserError("the file has no pixels", path=path, remedy="Copy or export it again")
    decoders = library.pydicom().pixels
    syntax = library.transfer_syntax(path, dataset)
    shape = int(library.number(dataset, "Rows") or 0), int(library.number(dataset, "Columns") or 0)
    if not 0 < shape[0] * shape[1] <= _MOST_PIXELS:
        problem = f"expected at most {_MOST_PIXELS} pixels per image, got {shape[0]} rows and {shape[1]} columns"
        raise UserError(problem, path=path, remedy="Check Rows (0028,0010) and Columns (0028,0011)")
    try:
        available = not syntax.is_compressed or decoders.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    allocated, _ = _bits(path, dataset)
    try:
        if allocated == 1 and not syntax.is_encapsulated and syntax.is_little_endian:
            for index in indices:
                yield _single_bits(dataset, index, shape)
        elif available:
            yield from decoders.iter_pixels(dataset, indices=list(indices), correct_unused_bits=False)
        elif frames.count(path, dataset) == 1:
            yield _by_gdcm(dataset)
        else:
            raise NotImplementedError
    except UserError:
        raise
    except Exception:
        if syntax.is_compressed and not available:
            raise UserError(
                f"no installed decoder supports the compression {syntax.name}",
                path=path,
                remedy='Run pip install python-gdcm "pylibjpeg[all]", or decompress the files (gdcmconv --raw)',
            ) from None
        raise UserError(
            "the pixels cannot be decoded: the file is cut off or damaged", path=path, remedy="Copy or export it again"
        ) from None


def _in_domain(values: np.ndarray, bits: int, signed: bool) -> np.ndarray:
    """The integers in the lowest `bits` bits. The other bits are ignored."""
    if (values.dtype.kind == "i") != signed:
        values = values.astype(np.int64)
    unused = 8 * values.dtype.itemsize - bits
    if unused <= 0:
        return values
    return values << unused >> unused if signed else values & ((1 << bits) - 1)


def _padding(path: pathlib.Path, dataset, raw: np.ndarray, bits: tuple[int, int], signed: bool) -> np.ndarray | None:
    """Mask of pixels from PixelPaddingValue to PixelPaddingRangeLimit (optional); None without PixelPaddingValue.

    A padding value may need more than BitsStored bits (-2000 with 12 bits). It may also be written as the unsigned
    number with the same bits (63536 for -2000).
    """
    first = library.optional_number(path, dataset, "PixelPaddingValue")
    if first is None:
        return None
    limit = library.optional_number(path, dataset, "PixelPaddingRangeLimit")
    allocated, stored = bits
    ends = [int(first), int(first if limit is None else limit)]
    fits = all(_in_domain(np.array(end, np.int64), stored, signed) == end for end in ends)
    width = stored if fits else allocated
    low, high = sorted(int(_in_domain(np.array(end, np.int64), width, signed)) for end in ends)
    values = _in_domain(raw, width, signed)
    return (values >= low) & (values <= high)


def stored_frames(
    path: pathlib.Path, dataset, indices: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yields stored values and padding of frames, by BitsStored and PixelRepresentation.

    Bits above BitsStored are overlays or unused, and are ignored.

    Args:
        path: the file, for messages.
        dataset: the whole file.
        indices: of the frames, from 0.

    Yields:
        Per frame, (rows, columns) integers, and (rows, columns) bool or None.

    Raises:
        UserError: the pixels are cut off, or no decoder is installed for their compression.
    """
    allocated, stored = _bits(path, dataset)
    signed = library.number(dataset, "PixelRepresentation") == 1
    for raw in _decoded(path, dataset, indices):
        yield _in_domain(raw, stored, signed), _padding(path, dataset, raw, (allocated, stored), signed)


def slope_and_intercept(path: pathlib.Path, dataset) -> tuple[float, float]:
    """Slope and intercept from stored to physical values; 1 and 0 if the header has neither.

    Raises:
        UserError: the header has a lookup table instead, only one of the two, or an unusable value.
    """
    if library.items(path, dataset, "ModalityLUTSequence"):
        raise UserError(
            f"expected a rescale slope, got a table ({library.tag_name('ModalityLUTSequence')})",
            path=path,
            remedy="Export the series with RescaleSlope and RescaleIntercept",
        )
    values = {}
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        values[keyword] = library.optional_number(path, dataset, keyword)
    missing = [keyword for keyword, number in values.items() if number is None]
    if len(missing) == 1:
        raise UserError(
            f"expected the tag {library.tag_name(missing[0])}, got only the other tag of the rescale",
            path=path,
            remedy="Export it again",
        )
    slope, intercept = (default if number is None else number for number, default in zip(values.values(), (1.0, 0.0)))
    if not _LEAST_SLOPE <= abs(slope) <= 1 / _LEAST_SLOPE:
        raise UserError(
            f"the tag {library.tag_name('RescaleSlope')} is {slope:g}: the slope is unusable",
            path=path,
            remedy="Correct the tag",
        )
    return slope, intercept


def rescaled(
    path: pathlib.Path, tags, modality: str, stored: np.ndarray, padding: np.ndarray | None, factor: float = 1.0
) -> np.ndarray:
    """Converts stored values of a frame to physical values.

    Args:
        path: the file, for messages.
        tags: dataset with RescaleSlope and RescaleIntercept of the frame.
        modality: the DICOM code.
        stored, padding: from `stored_frames`.
        factor: further factor on the rescaled values, e.g. from Bq/ml to SUV.

    Returns:
        (rows, columns) float32, rescaled in float64. Padding becomes air: -1024 HU in CT, 0 otherwise.

    Raises:
        UserError: the slope or the intercept is unusable.
    """
    slope, intercept = slope_and_intercept(path, tags)
    values = ((stored.astype(np.float64) * slope + intercept) * factor).astype(np.float32)
    if padding is not None:
        values[padding] = _AIR_HU if modality == "CT" else 0
    return values


def read(path: pathlib.Path, dataset, factor: float = 1.0) -> np.ndarray:
    """Reads the only frame of a file. Returns the values as `rescaled` does.

    Args:
        path: the file, for messages.
        dataset: the whole file.
        factor: see `rescaled`.

    Raises:
        UserError: the image is in colour, its pixels are cut off, or no decoder is installed for their compression.
    """
    check_grey(path, dataset)
    modality = str(library.value(dataset, "Modality") or "")
    (frame,) = stored_frames(path, dataset, [0])
    return rescaled(path, dataset, modality, *frame, factor)
