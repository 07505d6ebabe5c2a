"""The TFRecord contract: one `tf.train.Example` per case. No other file names a feature.

| feature | type | content |
|---|---|---|
| `contract_version` | int64 | 2 for a plain target (`LabelDefinition.is_plain`), else 3 |
| `case_id` | bytes | the case's name, UTF-8 |
| `grid/shape`, `grid/affine` | 3 int64, 16 float | the record's grid: slices, rows, columns; RAS+ mm |
| `crop/full_shape`, `crop/offset` | 3 int64 each | shape of the network's whole grid; the record's first voxel in it |
| `image/<modality>` | bytes | normalised values, float16, little-endian, C order, of `grid/shape` |
| `normalisation/<modality>` | 4 float | low, high, center and scale of the normalisation (`normalisation.Constants`) |
| `native/shape`, `native/affine` | 3 int64, 16 float | the patient's own grid, on which predicted masks are written |
| `label` | bytes | codes of `grid/shape`: uint8 0/1 in version 2; **absent in unlabelled records** |
| `native/label` | bytes | the annotator's label on the patient's own grid: codes (version 2: bits packed), zlib |
| `labels` | bytes | in version 3: the classes, JSON of `LabelDefinition.to_json`; codes are those of this definition |

A case without one of the dataset's modalities has neither `image/<modality>` nor `normalisation/<modality>`.
Only `parse_in_graph` imports TensorFlow, so that the workers of a conversion need little memory.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semicml_tf import labels_file
from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.mask import binary
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.preprocessing.normalisation import Constants
from semicml_tf.records import example_proto

PLAIN_VERSION, CONTRACT_VERSION = 2, 3
PARTITIONS = ("labelled", "unlabelled", "validation", "test")
LABELLED_PARTITIONS = ("labelled", "validation", "test")
# Limit for each of a record's three grids. A record of 8 kB can claim any shape, and its mask would fill the memory.
MOST_VOXELS = 2**31


@dataclasses.dataclass(frozen=True, eq=False)
class CaseRecord:
    """One patient's images on the network's grid, or on a box cut from it.

    Attributes:
        case_id: name of the case.
        grid: grid of images and label: shape (slices, rows, columns) and affine.
        images: by modality name, (slices, rows, columns) float16, normalised; at least one.
        constants: by modality name, the constants of its normalisation.
        native_grid: the patient's own grid.
        label: (slices, rows, columns) codes of `labels`, or None if the case is unlabelled. Codes of a plain target are
            uint8 0/1.
        native_label: codes on `native_grid`, or None if the case is unlabelled.
        crop_offset: index of `grid`'s first voxel in the network's whole grid.
        full_shape: shape of the network's whole grid; None: `grid` is the whole grid.
        labels: the classes of the codes.
    """

    case_id: str
    grid: Grid
    images: Mapping[str, np.ndarray]
    constants: Mapping[str, Constants]
    native_grid: Grid
    label: np.ndarray | None = None
    native_label: np.ndarray | None = None
    crop_offset: tuple[int, int, int] = (0, 0, 0)
    full_shape: tuple[int, int, int] | None = None
    labels: LabelDefinition = PLAIN

    @property
    def contract_version(self) -> int:
        """Version of the record: 2 for a plain target, else 3."""
        return PLAIN_VERSION if self.labels.is_plain else CONTRACT_VERSION

    @property
    def full_grid(self) -> Grid:
        """The network's whole grid, of which `grid` is a box."""
        affine = self.grid.affine.copy()
        affine[:3, 3] -= affine[:3, :3] @ np.array(self.crop_offset, np.float64)
        return Grid(self.full_shape or self.grid.shape, affine)


def _check(record: CaseRecord) -> None:
    """Raises ValueError if the parts of a record do not fit together."""
    full_shape = record.full_shape or record.grid.shape
    for name, shape in (("grid", record.grid.shape), ("native", record.native_grid.shape), ("full", full_shape)):
        if min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
            raise ValueError(f"expected a {name} shape of 1 to {MOST_VOXELS} voxels, got {' x '.join(map(str, shape))}")
    expected = {"label": record.grid.shape, "native_label": record.native_grid.shape}
    arrays = {f"image {name}": image for name, image in record.images.items()}
    arrays |= {"label": record.label, "native_label": record.native_label}
    for name, array in arrays.items():
        shape = expected.get(name, record.grid.shape)
        if array is not None and array.shape != shape:
            raise ValueError(f"expected {name} of shape {shape}, got {array.shape}")
    if not record.images or set(record.images) != set(record.constants):
        raise ValueError(f"expected images, each with its constants, got {set(record.images)}, {set(record.constants)}")
    for name, constants in record.constants.items():
        if not np.all(np.isfinite(dataclasses.astuple(constants))) or constants.scale <= 0:
            raise ValueError(f"expected finite constants of {name} and a scale above 0, got {constants}")
    if (record.label is None) != (record.native_label is None):
        raise ValueError("expected both labels or none")
    for name in ("label", "native_label"):
        if arrays[name] is not None:
            _check_codes(arrays[name], name, record.labels)
    ends = tuple(start + size for start, size in zip(record.crop_offset, record.grid.shape))
    if min(record.crop_offset) < 0 or any(end > size for end, size in zip(ends, full_shape)):
        raise ValueError(f"expected a box within {full_shape}, got {record.crop_offset} to {ends}")


def _check_codes(codes: np.ndarray, name: str, labels: LabelDefinition) -> None:
    if labels.is_plain:
        binary(codes, f"a {name}")
    elif codes.dtype != np.dtype(labels.dtype) or not labels.is_valid(codes):
        raise ValueError(f"expected a {name} of codes of {labels}, of type {np.dtype(labels.dtype)}")


def encode(record: CaseRecord) -> bytes:
    """Serialises `record`; the same record gives the same bytes.

    Raises:
        UserError: the case is larger than a record can be.
        ValueError: the parts of `record` do not fit together, a mistake of the caller.
    """
    largest = max((record.grid.shape, record.native_grid.shape, record.full_shape or ()), key=math.prod)
    if math.prod(largest) > MOST_VOXELS:
        raise UserError(
            f"case {record.case_id} is too large for a record: expected grids of at most {MOST_VOXELS} voxels, got "
            f"{' x '.join(map(str, largest))}",
            remedy="Choose a coarser --spacing_mm, or crop the volume",
        )
    _check(record)
    raw, ints, floats = example_proto.raw, example_proto.ints, example_proto.floats
    features = {
        "contract_version": ints([record.contract_version]),
        "case_id": raw(record.case_id.encode("utf-8")),
        "grid/shape": ints(record.grid.shape),
        "grid/affine": floats(record.grid.affine),
        "crop/offset": ints(record.crop_offset),
        "crop/full_shape": ints(record.full_shape or record.grid.shape),
        "native/shape": ints(record.native_grid.shape),
        "native/affine": floats(record.native_grid.affine),
    }
    for name, image in record.images.items():
        features[f"image/{name}"] = raw(np.ascontiguousarray(image, "<f2"))
        features[f"normalisation/{name}"] = floats(dataclasses.astuple(record.constants[name]))
    if record.label is not None:
        plain = record.labels.is_plain
        native = np.packbits(record.native_label) if plain else np.ascontiguousarray(record.native_label)
        features["label"] = raw(np.ascontiguousarray(record.label, record.labels.dtype))
        features["native/label"] = raw(zlib.compress(native.tobytes(), 6))
    if not record.labels.is_plain:
        features["labels"] = raw(labels_file.text(record.labels).encode())
    try:
        return example_proto.serialize(features)
    except ValueError as error:
        shape = " x ".join(map(str, record.grid.shape))
        raise UserError(
            f"case {record.case_id} is too large for a record on a grid of {shape} ({error})",
            remedy="Choose a coarser --spacing_mm",
        ) from error


def decode(serialized: bytes, *, path: str | None = None) -> CaseRecord:
    """Reads what `encode` wrote. Images and label are read-only; if aligned, they are views into `serialized`.

    Raises:
        UserError: the bytes are no record of this contract version. The error names `path`.
    """
    try:
        features = example_proto.parse(serialized)
        version = example_proto.ints_of(features.get("contract_version", memoryview(b"")))
    except example_proto.NoExample as error:
        raise UserError("a record is no tf.train.Example", path=path, remedy="Convert the data again") from error
    if version not in ([PLAIN_VERSION], [CONTRACT_VERSION]):
        raise UserError(
            f"expected records of contract version {PLAIN_VERSION} or {CONTRACT_VERSION}, got "
            f"{version[0] if version else 'none'}",
            path=path,
            remedy="Convert the data again with this version",
        )
    try:
        return _case(features, plain=version == [PLAIN_VERSION])
    except UserError as error:
        raise UserError(f"in a record: {error.problem}", path=path, remedy="Convert the data again") from error
    except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
        raise UserError(
            f"a record of contract version {version[0]} has a missing or wrong feature ({error})",
            path=path,
            remedy="Convert the data again",
        ) from error


def _array(feature: memoryview, dtype: str) -> np.ndarray:
    array = np.frombuffer(example_proto.raw_of(feature), dtype)
    # If a record begins at an odd byte, its numbers are not aligned. Some libraries cannot read such arrays.
    if not array.flags.aligned:
        array = array.copy()
        array.setflags(write=False)
    return array


def _case(features: Mapping[str, memoryview], *, plain: bool) -> CaseRecord:
    def three(name):
        first, second, third = example_proto.ints_of(features[name])
        return first, second, third

    def grid(name):
        affine = np.array(example_proto.floats_of(features[f"{name}/affine"]), np.float64)
        return Grid(three(f"{name}/shape"), affine.reshape(4, 4))

    network, native = grid("grid"), grid("native")
    names = sorted(key.split("/", 1)[1] for key in features if key.startswith("image/"))
    labels = PLAIN if plain else labels_file.parse(bytes(example_proto.raw_of(features["labels"])))
    label = native_label = None
    if "label" in features or "native/label" in features:
        label = _array(features["label"], labels.dtype).reshape(network.shape)
        native_label = _native_label(example_proto.raw_of(features["native/label"]), native.shape, labels)
    record = CaseRecord(
        case_id=str(example_proto.raw_of(features["case_id"]), "utf-8"),
        grid=network,
        images={name: _array(features[f"image/{name}"], "<f2").reshape(network.shape) for name in names},
        constants={name: Constants(*example_proto.floats_of(features[f"normalisation/{name}"])) for name in names},
        native_grid=native,
        label=label,
        native_label=native_label,
        crop_offset=three("crop/offset"),
        full_shape=three("crop/full_shape"),
        labels=labels,
    )
    _check(record)
    return record


def _native_label(content: memoryview, shape: tuple[int, int, int], labels: LabelDefinition) -> np.ndarray:
    """Decompresses codes of exactly `shape`: a few kilobytes of hostile zlib data can expand to gigabytes."""
    voxels = math.prod(shape)
    if voxels > MOST_VOXELS:
        raise ValueError(f"expected a native shape of at most {MOST_VOXELS} voxels, got {voxels}")
    size = -(-voxels // 8) if labels.is_plain else voxels * np.dtype(labels.dtype).itemsize
    unzip = zlib.decompressobj()
    data = unzip.decompress(content, size + 1)
    if len(data) != size or not unzip.eof or unzip.unused_data:
        raise ValueError(f"expected a native label of exactly {size} bytes for {voxels} voxels")
    if labels.is_plain:
        return np.unpackbits(np.frombuffer(data, np.uint8), count=voxels).reshape(shape)
    return np.frombuffer(data, labels.dtype).reshape(shape)


def parse_in_graph(
    serialized,
    modalities: Sequence[str],
    *,
    labelled: bool,
    labels: LabelDefinition = PLAIN,
    may_lack: bool = False,
) -> dict[str, Any]:
    """Reads the images (and the label) of one serialised record with TensorFlow operations.

    Args:
        serialized: scalar string tensor.
        modalities: names to read.
        labelled: whether to read the label. A record without a label is then an error.
        labels: the classes of the dataset.
        may_lack: whether the record may lack images. An absent image is then all 0.

    Returns:
        ``{"image": {name: (slices, rows, columns) float16}}`` and, if labelled, ``"label"``: codes of `labels`, with
        its dtype and the same shape. With `may_lack` also ``"present"``: a scalar bool by modality.

    Raises:
        tf.errors.InvalidArgumentError: a feature is missing, or the label has values that are no codes.
    """
    import tensorflow as tf

    default = b"" if may_lack else None
    wanted = {f"image/{name}": tf.io.FixedLenFeature([], tf.string, default) for name in modalities}
    wanted["grid/shape"] = tf.io.FixedLenFeature([3], tf.int64)
    if labelled:
        wanted["label"] = tf.io.FixedLenFeature([], tf.string)
    parsed = tf.io.parse_single_example(serialized, wanted)
    shape = parsed["grid/shape"]
    case = {}
    if may_lack:
        case["present"] = {name: tf.strings.length(parsed[f"image/{name}"]) > 0 for name in modalities}

    def image(name):
        return tf.reshape(tf.io.decode_raw(parsed[f"image/{name}"], tf.float16), shape)

    def image_or_zeros(name):
        return tf.cond(case["present"][name], lambda: image(name), lambda: tf.zeros(shape, tf.float16))

    case["image"] = {name: (image_or_zeros if may_lack else image)(name) for name in modalities}
    if not labelled:
        return case
    dtype = tf.as_dtype(np.dtype(labels.dtype))
    label = tf.reshape(tf.io.decode_raw(parsed["label"], dtype), shape)
    # Augmentation interpolates each class separately: an unknown value would silently become background.
    end = len(labels.classes) + 1 if labels.exclusive else 1 << len(labels.classes)
    # 8 regions use all values of a byte.
    known = tf.constant(True) if end > dtype.max else label < tf.constant(end, dtype)
    if labels.ignored_code is not None:
        known = tf.logical_or(known, label == tf.constant(labels.ignored_code, dtype))
    expected = "0 and 1" if labels.is_plain else f"of {labels}"
    checked = tf.debugging.Assert(tf.reduce_all(known), [f"expected a label of the values {expected}"])
    with tf.control_dependencies([checked] if checked is not None else []):  # None in eager mode
        return case | {"label": tf.identity(label)}
