"""pydicom, highdicom and SimpleITK, imported on first use with their log output off, and readers for single tags."""

from __future__ import annotations

import contextlib
import importlib
import logging
import pathlib
import traceback
import warnings
from collections.abc import Iterator

from semicml_tf.errors import UserError

_log = logging.getLogger(__name__)
_INSTALL = 'pip install "semicml-tf[dicom]"'


def _imported(name: str, content: str = "DICOM"):
    # Warnings and log lines of these libraries quote unusual values, e.g. a name or a date of birth.
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)(\.|$)")
    for logger in ("pydicom", "highdicom"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    try:
        return importlib.import_module(name)
    except ImportError:
        library = name.split(".")[0]
        raise UserError(f"reading {content} needs {library}, which is not installed", remedy=_INSTALL) from None


def pydicom():
    """The module `pydicom` with its pixel decoders. Its validation of values is off.

    Raises:
        UserError: it is not installed.
    """
    module = _imported("pydicom")
    _imported("pydicom.pixels")
    module.config.settings.reading_validation_mode = module.config.IGNORE
    return module


def highdicom():
    """The module `highdicom`; raises as `pydicom`."""
    pydicom()
    return _imported("highdicom")


def simpleitk(content: str = "DICOM"):
    """The module `SimpleITK`; raises as `pydicom`.

    Args:
        content: what is read, for the error message.
    """
    return _imported("SimpleITK", content)


def read(path: pathlib.Path, *, tags: tuple[str | int, ...] | None = None):
    """Reads the dataset of a file.

    Args:
        path: the file.
        tags: read only these tags of the header, or the whole header if empty; None reads the pixels, too.

    Raises:
        UserError: the file is missing, empty, cut off or no DICOM file.
    """
    module = pydicom()
    try:
        # No `force`: with it, pydicom would read any text file as a header.
        dataset = module.dcmread(path, stop_before_pixels=tags is not None, specific_tags=list(tags) if tags else None)
    except FileNotFoundError:
        raise UserError("there is no such file", path=path, remedy="Check the path") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror or 'the file ends too early'})"
        raise UserError(problem, path=path, remedy="Check the file, or copy it again") from None
    except module.errors.InvalidDicomError:
        problem = "the file is empty" if not path.stat().st_size else "expected a DICOM file, got something else"
        raise UserError(problem, path=path, remedy="Copy it again, or remove it") from None
    except Exception:  # pydicom raises many types for a damaged header; their texts may quote the header
        raise UserError("the DICOM header is damaged", path=path, remedy="Copy or export it again") from None
    if tags is None and _is_cut_off(dataset):
        raise UserError("the file is cut off: it ends within a value", path=path, remedy="Copy or export it again")
    return dataset


@contextlib.contextmanager
def user_errors(path: pathlib.Path, dataset=None) -> Iterator[None]:
    """Replaces exceptions of libraries by a `UserError` that names the file and, if known, the damaged tag.

    The text of the exception is not shown, because it may quote the patient's tags. Its type and line are written to
    the debug log.

    Args:
        path: the file or folder.
        dataset: of the file, to search for the damaged tag.

    Raises:
        UserError: in place of any other exception.
    """
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise UserError("the pixels do not fit into memory", path=path, remedy="Check Rows and Columns") from None
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        _log.debug("%s at %s:%d while reading DICOM", type(error).__name__, frame.filename, frame.lineno)
        tag = damaged_tag(dataset)
        problem = f"the tag {tag} is damaged" if tag else "this DICOM object is damaged"
        raise UserError(
            f"{problem} ({type(error).__name__} while reading)", path=path, remedy="Copy or export it again"
        ) from None


def damaged_tag(dataset) -> str | None:
    """The first tag, at any depth, whose value cannot be parsed; None if there is none."""
    for tag in () if dataset is None else list(dataset.keys()):
        try:
            element = dataset[tag]
            items = element.value if element.VR == "SQ" else ()
        except Exception:
            return f"({tag.group:04X},{tag.element:04X})"
        for item in items:
            inner = damaged_tag(item)
            if inner:
                return inner
    return None


def transfer_syntax(path: pathlib.Path, dataset):
    """The UID of the encoding of the pixels.

    Raises:
        UserError: the UID is missing, or does not name a transfer syntax.
    """
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if not syntax or not syntax.is_transfer_syntax:
        received = "another UID" if syntax else "none"
        raise UserError(
            f"expected the tag TransferSyntaxUID (0002,0010), the encoding of the pixels, got {received}",
            path=path,
            remedy="Export it again",
        )
    return syntax


def _is_cut_off(dataset) -> bool:
    """Whether the last value has fewer bytes than its length field says. pydicom does not check this."""
    last = dataset.get_item(max(dataset.keys())) if len(dataset) else None
    length, content = getattr(last, "length", None), getattr(last, "value", None)
    return isinstance(content, bytes) and length not in (None, 0xFFFFFFFF) and len(content) != length


def value(dataset, keyword: str):
    """The value of a tag; None if it is absent, empty, or does not have the form of its type."""
    try:
        content = dataset.get(keyword)
    except Exception:  # e.g. a decimal string that is no number
        return None
    is_empty = content is None or content == "" or (hasattr(content, "__len__") and not len(content))
    return None if is_empty else content


def number(dataset, keyword: str) -> float | None:
    """The value of a tag as one finite number; None if it is absent or has another form."""
    try:
        number = float(value(dataset, keyword))
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) != float("inf") else None


def optional_number(path: pathlib.Path, dataset, keyword: str) -> float | None:
    """The value of a tag as one finite number; None if it is absent or empty.

    Raises:
        UserError: the value is no number.
    """
    result = number(dataset, keyword)
    if result is None and not _is_empty(dataset, keyword):
        raise UserError(f"the tag {tag_name(keyword)} is no number", path=path, remedy="Correct the tag")
    return result


def integer(path: pathlib.Path, dataset, keyword: str) -> int:
    """The value of a tag as an integer.

    Raises:
        UserError: the tag is absent, or its value is no integer.
    """
    result = number(dataset, keyword)
    if result is None or result != int(result):
        raise UserError(f"the tag {tag_name(keyword)} is no integer", path=path, remedy="Export it again")
    return int(result)


def items(path: pathlib.Path, dataset, keyword: str) -> list:
    """The items of a sequence; [] if it is absent or empty.

    Raises:
        UserError: the tag is no sequence, or is damaged.
    """
    if keyword not in dataset:
        return []
    try:
        element = dataset[keyword]
        result = list(element.value or ()) if element.VR == "SQ" else None
    except Exception:  # bytes that are no items
        result = None
    if result is None:
        raise UserError(f"the tag {tag_name(keyword)} is damaged", path=path, remedy="Copy or export it again")
    return result


def _is_empty(dataset, keyword: str) -> bool:
    return keyword not in dataset or dataset.get_item(keyword).value in (None, b"", "")


def numbers(dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """The value of a tag as `count` finite numbers; None if it is absent or has another form."""
    try:
        values = tuple(float(item) for item in value(dataset, keyword))
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(abs(number) < 1e300 for number in values) else None


def tag_name(keyword: str) -> str:
    """The name of a tag in messages, e.g. ``PatientWeight (0010,1030)``."""
    tag = pydicom().datadict.tag_for_keyword(keyword)
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def sop_class(dataset) -> str:
    """The SOP class UID, which is the type of the object; "" if it is unknown."""
    return str(value(dataset, "SOPClassUID") or "")
