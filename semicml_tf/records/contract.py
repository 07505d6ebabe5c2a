"""The TFRecord contract: one `tf.train.Example` a case. No other file names a feature.

| feature | type | what |
|---|---|---|
| `contract_version` | int64 | `CONTRACT_VERSION` |
| `case_id` | bytes | the case's name, UTF-8 |
| `grid/shape`, `grid/affine` | 3 int64, 16 float | the network's grid: slices, rows, columns; RAS+ mm |
| `image/<modality>` | bytes | normalised values, float16, little-endian, C order, of `grid/shape` |
| `normalisation/<modality>` | 4 float | low, high, center, scale that made them (`normalisation.Constants`) |
| `native/shape`, `native/affine` | 3 int64, 16 float | the patient's own grid, onto which masks go back |
| `label` | bytes | uint8 0/1 of `grid/shape`; **absent in unlabelled records** |
| `native/label` | bytes | the annotator's mask on the patient's own grid, bits packed, zlib; absent likewise |
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.geometry.grid import Grid
from semicml_tf.normalisation import Constants

CONTRACT_VERSION = 1
PARTITIONS = ("labelled", "unlabelled", "validation", "test")
LABELLED_PARTITIONS = ("labelled", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class CaseRecord:
    """One patient's images on the network's grid.

    Attributes:
        case_id: name of the case.
        grid: the network's grid, (slices, rows, columns).
        images: by modality name, (slices, rows, columns) float16, normalised.
        constants: by modality name, what normalised them.
        native_grid: the patient's own grid.
        label: (slices, rows, columns) uint8 0/1, or None where the case is unlabelled.
        native_label: uint8 0/1 on `native_grid`, or None likewise.
    """

    case_id: str
    grid: Grid
    images: Mapping[str, np.ndarray]
    constants: Mapping[str, Constants]
    native_grid: Grid
    label: np.ndarray | None = None
    native_label: np.ndarray | None = None


def encode(record: CaseRecord) -> bytes:
    """Serialises `record`; the same record gives the same bytes."""
    import tensorflow as tf

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values)))

    def ints(values):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=np.ravel(values)))

    def raw(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    features = {
        "contract_version": ints([CONTRACT_VERSION]),
        "case_id": raw(record.case_id.encode("utf-8")),
        "grid/shape": ints(record.grid.shape),
        "grid/affine": floats(record.grid.affine),
        "native/shape": ints(record.native_grid.shape),
        "native/affine": floats(record.native_grid.affine),
    }
    for name, image in record.images.items():
        if image.shape != record.grid.shape:
            raise ValueError(f"expected image {name} of shape {record.grid.shape}, got {image.shape}")
        features[f"image/{name}"] = raw(np.ascontiguousarray(image, "<f2").tobytes())
        features[f"normalisation/{name}"] = floats(dataclasses.astuple(record.constants[name]))
    if record.label is not None:
        features["label"] = raw(np.ascontiguousarray(record.label, np.uint8).tobytes())
        features["native/label"] = raw(zlib.compress(np.packbits(record.native_label.astype(bool)).tobytes(), 6))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def decode(serialized: bytes, *, path: str | None = None) -> CaseRecord:
    """Reads back what `encode` wrote.

    Raises:
        UserError: the bytes are no record of this contract version. `path` is named in it.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    try:
        features = tf.train.Example.FromString(serialized).features.feature
        version = list(features["contract_version"].int64_list.value)
    except DecodeError as error:
        raise UserError("a record is no tf.train.Example", path=path, remedy="Convert the data again") from error
    if version != [CONTRACT_VERSION]:
        raise UserError(
            f"expected records of contract version {CONTRACT_VERSION}, got {version or 'none'}",
            path=path,
            remedy="Convert the data again with this version",
        )

    def raw(name):
        return features[name].bytes_list.value[0]

    def grid(name):
        return Grid(
            tuple(features[f"{name}/shape"].int64_list.value),
            np.array(features[f"{name}/affine"].float_list.value, np.float64).reshape(4, 4),
        )

    network, native = grid("grid"), grid("native")
    names = sorted(key.split("/", 1)[1] for key in features if key.startswith("image/"))
    label = native_label = None
    if "label" in features:
        label = np.frombuffer(raw("label"), np.uint8).reshape(network.shape)
        bits = np.frombuffer(zlib.decompress(raw("native/label")), np.uint8)
        native_label = np.unpackbits(bits, count=int(np.prod(native.shape))).reshape(native.shape)
    return CaseRecord(
        case_id=raw("case_id").decode("utf-8"),
        grid=network,
        images={name: np.frombuffer(raw(f"image/{name}"), "<f2").reshape(network.shape) for name in names},
        constants={name: Constants(*features[f"normalisation/{name}"].float_list.value) for name in names},
        native_grid=native,
        label=label,
        native_label=native_label,
    )


def parse_in_graph(serialized, modalities: Sequence[str], *, labelled: bool) -> dict[str, Any]:
    """The images (and label) of one serialised record, by TensorFlow operations.

    Args:
        serialized: scalar string tensor.
        modalities: names to read.
        labelled: whether to read the label, too; a record without one is then an error.

    Returns:
        ``{"image": {name: (slices, rows, columns) float16}}`` and, if labelled, ``"label"``: uint8 likewise.
    """
    import tensorflow as tf

    wanted = {f"image/{name}": tf.io.FixedLenFeature([], tf.string) for name in modalities}
    wanted["grid/shape"] = tf.io.FixedLenFeature([3], tf.int64)
    if labelled:
        wanted["label"] = tf.io.FixedLenFeature([], tf.string)
    parsed = tf.io.parse_single_example(serialized, wanted)
    shape = parsed["grid/shape"]
    images = {name: tf.reshape(tf.io.decode_raw(parsed[f"image/{name}"], tf.float16), shape) for name in modalities}
    if not labelled:
        return {"image": images}
    return {"image": images, "label": tf.reshape(tf.io.decode_raw(parsed["label"], tf.uint8), shape)}
