"""pydicom, highdicom and SimpleITK: imported on first use, and prevented from printing values of patients' tags."""

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


def _imported(name: str, what: str = "DICOM"):
    # Their warnings and log lines quote values that they find odd, which may be a name or a date of birth.
    warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)(\.|$)")
    for logger in ("pydicom", "highdicom"):
        logging.getLogger(logger).setLevel(logging.CRITICAL + 1)
    try:
        return importlib.import_module(name)
    except ImportError:
        library = name.split(".")[0]
        raise UserError(f"reading {what} needs {library}, which is not installed", remedy=_INSTALL) from None


def pydicom():
    """The module `pydicom`, with its pixel decoders, set to accept values of odd form without a word.

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


def simpleitk(what: str = "DICOM"):
    """The module `SimpleITK`; raises as `pydicom`.

    Args:
        what: is read, for the error.
    """
    return _imported("SimpleITK", what)


def read(path: pathlib.Path, *, tags: tuple[str | int, ...] | None = None):
    """A file's dataset.

    Args:
        path: the file.
        tags: read the header alone, and of it these tags alone; None reads all.

    Raises:
        UserError: it is missing, empty, cut off within its header, or no DICOM file.
    """
    module = pydicom()
    try:
        # A generator of its own would be read with force=True; without the mark, any text file passes for a header.
        dataset = module.dcmread(path, stop_before_pixels=tags is not None, specific_tags=list(tags) if tags else None)
    except FileNotFoundError:
        raise UserError("there is no such file", path=path, remedy="Check the path") from None
    except OSError as error:
        problem = f"cannot be read ({error.strerror or 'the file ends too early'})"
        raise UserError(problem, path=path, remedy="Check the file, or copy it again") from None
    except module.errors.InvalidDicomError:
        what = "the file is empty" if not path.stat().st_size else "expected a DICOM file, got something else"
        raise UserError(what, path=path, remedy="Copy it again, or remove it") from None
    except Exception:  # whatever pydicom trips over in a damaged header; its text may quote the header
        raise UserError("its DICOM header is damaged", path=path, remedy="Copy or export it again") from None
    if tags is None and _is_cut_off(dataset):
        raise UserError("the file is cut off: it ends within a value", path=path, remedy="Copy or export it again")
    return dataset


@contextlib.contextmanager
def door(path: pathlib.Path, dataset=None) -> Iterator[None]:
    """Turns whatever a library raises for damaged values into a `UserError` that names the file and, if known, the tag.

    The text of the exception is not shown, because it may quote the patient's tags. Its type and place go to the
    debug log.

    Args:
        path: the file or folder.
        dataset: of the file, in which the damaged tag is looked for.

    Raises:
        UserError: in place of any other exception.
    """
    try:
        yield
    except UserError:
        raise
    except MemoryError:
        raise UserError("it does not fit into memory", path=path, remedy="Check Rows, Columns and frames") from None
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        _log.debug("%s at %s:%d while reading DICOM", type(error).__name__, place.filename, place.lineno)
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
    """The UID that says how pixels are encoded.

    Raises:
        UserError: there is none, or it is the UID of something else.
    """
    syntax = getattr(dataset.file_meta, "TransferSyntaxUID", None)
    if not syntax or not syntax.is_transfer_syntax:
        problem = "no transfer syntax" if syntax else "none"
        raise UserError(
            f"expected the tag TransferSyntaxUID (0002,0010), which says how pixels are encoded, got {problem}",
            path=path,
            remedy="Export it again",
        )
    return syntax


def _is_cut_off(dataset) -> bool:
    """Whether the last value has fewer bytes than announced, which pydicom passes over."""
    last = dataset.get_item(max(dataset.keys())) if len(dataset) else None
    length, found = getattr(last, "length", None), getattr(last, "value", None)
    return isinstance(found, bytes) and length not in (None, 0xFFFFFFFF) and len(found) != length


def value(dataset, keyword: str):
    """The value of a tag; None if it is absent, empty, or not of the form that its type asks for."""
    try:
        found = dataset.get(keyword)
    except Exception:  # e.g. a decimal string that is no number
        return None
    return None if found is None or found == "" or (hasattr(found, "__len__") and not len(found)) else found


def number(dataset, keyword: str) -> float | None:
    """A tag's one finite number; None if it is absent or no such number."""
    found = value(dataset, keyword)
    try:
        number = float(found)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) != float("inf") else None


def optional_number(path: pathlib.Path, dataset, keyword: str) -> float | None:
    """A tag's one finite number; None if it is absent or empty.

    Raises:
        UserError: the tag holds something else.
    """
    found = number(dataset, keyword)
    if found is None and not _is_empty(dataset, keyword):
        raise UserError(f"the tag {tag_name(keyword)} holds no number", path=path, remedy="Correct the tag")
    return found


def integer(path: pathlib.Path, dataset, keyword: str) -> int:
    """A tag's one whole number.

    Raises:
        UserError: the tag is absent or holds something else.
    """
    found = number(dataset, keyword)
    if found is None or found != int(found):
        raise UserError(f"the tag {tag_name(keyword)} holds no whole number", path=path, remedy="Export it again")
    return int(found)


def items(path: pathlib.Path, dataset, keyword: str) -> list:
    """The items of a sequence; [] if it is absent or empty.

    Raises:
        UserError: the tag holds no sequence.
    """
    if keyword not in dataset:
        return []
    try:
        element = dataset[keyword]
        found = list(element.value or ()) if element.VR == "SQ" else None
    except Exception:  # bytes that are no items
        found = None
    if found is None:
        raise UserError(f"the tag {tag_name(keyword)} is damaged", path=path, remedy="Copy or export it again")
    return found


def _is_empty(dataset, keyword: str) -> bool:
    return keyword not in dataset or dataset.get_item(keyword).value in (None, b"", "")


def numbers(dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """A tag's `count` finite numbers; None if it is absent or holds something else."""
    found = value(dataset, keyword)
    try:
        values = tuple(float(one) for one in found)
    except (TypeError, ValueError):
        return None
    return values if len(values) == count and all(abs(one) < 1e300 for one in values) else None


def tag_name(keyword: str) -> str:
    """``PatientWeight (0010,1030)``: how a message names a tag."""
    tag = pydicom().datadict.tag_for_keyword(keyword)
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def sop_class(dataset) -> str:
    """The UID that says what kind of object this is; "" if it is unknown."""
    return str(value(dataset, "SOPClassUID") or "")
