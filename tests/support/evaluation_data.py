"""Patients, a dataset folder and a run's folder as the tests of evaluation need them: tiny, with known answers."""

import dataclasses
import json
import pathlib

import numpy as np

from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import resample_mask
from semicml_tf.labels import PLAIN, LabelDefinition
from semicml_tf.preprocessing.normalisation import Constants, Normalisation
from semicml_tf.records import case_record, shards
from semicml_tf.records.dataset import CaseEntry, DatasetInfo

NORMALISATION = {"ct": Normalisation("hu", -200.0, 300.0), "pet": Normalisation("suv", 0.0, 15.0)}
CONSTANTS = {
    name: Constants(how.low, how.high, *centre)
    for (name, how), centre in zip(NORMALISATION.items(), ((50.0, 250.0), (7.5, 7.5)))
}
WINDOW = 32


def oblique_grid(shape=(28, 26, 14), spacing_mm=(1.5, 1.5, 3.0), degrees=20.0) -> Grid:
    """A grid in the patient's left-posterior order, turned about two axes."""
    a = np.deg2rad(degrees)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(a / 2), -np.sin(a / 2)], [0, np.sin(a / 2), np.cos(a / 2)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.diag([-1.0, -1.0, 1.0]) * np.array(spacing_mm)
    affine[:3, 3] = (31.0, -12.0, 440.0)
    return Grid(shape, affine)


def ball(grid: Grid, centre, radius_mm: float) -> np.ndarray:
    """uint8 ball about the voxel `centre`."""
    index = np.indices(grid.shape).reshape(3, -1) - np.array(centre, float)[:, None]
    distance = np.linalg.norm(grid.affine[:3, :3] @ index, axis=0)
    return (distance <= radius_mm).reshape(grid.shape).astype(np.uint8)


def patient(
    case_id: str, native_label: np.ndarray, native: Grid, *, spacing_mm=(0.0, 0.0, 0.0)
) -> case_record.CaseRecord:
    """Lesion 0.5, a brighter distractor 1.0 of no meaning, background 0; the same in both modalities.

    No threshold can tell the lesion from the distractor; `band_network` can.
    """
    grid = native.for_network(spacing_mm)
    label = resample_mask(native_label, native, grid)
    image = 0.5 * label.astype(np.float32)
    image[:, :5, :] = 1.0
    label[:, :5, :] = 0
    return case_record.CaseRecord(
        case_id=case_id,
        grid=grid,
        images={name: image.astype(np.float16) for name in NORMALISATION},
        constants=CONSTANTS,
        native_grid=native,
        label=label,
        native_label=native_label,
    )


def without(record: case_record.CaseRecord, modality: str) -> case_record.CaseRecord:
    """The patient without that image."""
    images = {name: image for name, image in record.images.items() if name != modality}
    return dataclasses.replace(record, images=images, constants={name: CONSTANTS[name] for name in images})


def write_dataset(folder: pathlib.Path, partitions: dict[str, list[case_record.CaseRecord]], **changes) -> DatasetInfo:
    """One shard a partition and dataset.json."""
    import tensorflow as tf

    folder.mkdir(parents=True)
    entries, digests = {}, {}
    modalities = changes.get("modalities", tuple(NORMALISATION))
    for partition, records in partitions.items():
        name = shards.shard_name(partition, 0, 1)
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for record in records:
                writer.write(case_record.encode(record))
        digests[name] = shards.sha256(folder / name)
        entries[partition] = tuple(
            CaseEntry(
                record.case_id,
                name,
                index,
                record.grid.shape,
                None if record.label is None else int(record.labels.any(record.label).any(axis=(1, 2)).sum()),
                tuple(modality for modality in changes.get("modalities", NORMALISATION) if modality in record.images),
            )
            for index, record in enumerate(records)
        )
    settings = {
        "root": folder,
        "modalities": modalities,
        "reference_modality": "ct",
        "spacing_mm": (0.0, 0.0, 0.0),
        "normalisation": {name: NORMALISATION.get(name, NORMALISATION["ct"]) for name in modalities},
        "labels": PLAIN,
        "layout": "csv",
        "partitions": entries,
        "shard_sha256": digests,
    }
    info = DatasetInfo(**{**settings, **changes}).with_hash()
    info.save(folder)
    return info


def write_run(folder: pathlib.Path, info: DatasetInfo, *, width: int = 1) -> None:
    """A run of untrained networks; of several regions, the threshold of each is 0.5."""
    from semicml_tf.networks import catalogue
    from semicml_tf.runs.run_folder import weights_file

    labels = info.labels
    spec = catalogue.specification(
        "unet", window=WINDOW, width=width, classes=len(labels.names), activation=labels.activation
    )
    threshold = {"threshold": 0.5 if len(labels.names) == 1 else dict.fromkeys(labels.names, 0.5)}
    best = {"dice": 0.5, **({} if labels.exclusive else threshold), "step": 1, "stage": "semicml"}
    target = {"network": spec.to_json(), "labels": labels.to_json()}
    body = {
        "dataset": str(info.root),
        "data_hash": info.data_hash,
        "run_hash": "0123456789abcdef",
        "modalities": list(info.modalities),
        "window": WINDOW,
        "width": width,
        "best": dict.fromkeys(info.modalities, best),
        **({} if labels.is_plain else target),
    }
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(body))
    for name in info.modalities:
        weights = catalogue.build(spec, name=name).get_weights()
        np.savez(weights_file(folder, name), **{f"{index:04d}": array for index, array in enumerate(weights)})


def band_network():
    """Probability 1 where the value is about 0.5, 0 where it is 0 or 1."""
    import keras

    slices = keras.Input((WINDOW, WINDOW, 1))
    return keras.Model(slices, keras.ops.sigmoid(100.0 * slices * (1.0 - slices) - 12.0))


def boxes(case_id: str, labels: LabelDefinition, masks: dict[str, tuple], ignored: tuple | None = None):
    """A patient on a grid of 1 mm whose classes are boxes; images show where any class is.

    Args:
        masks: by class, an index of (slices, rows, columns).
        ignored: likewise, where nobody annotated.
    """
    grid = Grid((6, WINDOW, WINDOW), np.eye(4))
    whole = np.zeros((len(labels.names), *grid.shape), np.uint8)
    for number, name in enumerate(labels.names):
        if name in masks:
            whole[number][masks[name]] = 1
    unknown = np.zeros(grid.shape, bool)
    if ignored is not None:
        unknown[ignored] = True
    codes = labels.join(whole, unknown)
    image = whole.any(axis=0).astype(np.float16)
    return case_record.CaseRecord(
        case_id, grid, dict.fromkeys(NORMALISATION, image), CONSTANTS, grid, codes, codes, labels=labels
    )
