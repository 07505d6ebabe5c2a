"""Folders of CT/PET runs that were never trained: run.json, weights of both networks, and an empty dataset."""

import dataclasses
import json

import numpy as np

from semicml_tf.labels import LabelDefinition
from semicml_tf.networks import catalogue
from semicml_tf.networks.spec import NetworkSpec
from semicml_tf.preprocessing.normalisation import Normalisation
from semicml_tf.records.dataset import DatasetInfo
from semicml_tf.runs.run_folder import weights_file

# Two levels: the depth changes only the time of an export.
SPEC = NetworkSpec("unet", 32, 2, levels=2)


def random_weights(seed: int, spec: NetworkSpec = SPEC):
    """Weights by modality, all random: those of a new network are 0 and 1 in part."""
    rng = np.random.default_rng(seed)
    shapes = [weight.shape for weight in catalogue.build(spec, name="any").get_weights()]
    # Around 1, so that no running variance is below 0.
    return {name: [rng.normal(1, 0.1, shape).astype(np.float32) for shape in shapes] for name in ("ct", "pet")}


def make_run(root, weights=None, labels=None, *, spec=SPEC, data=None, **body):
    """Makes ``root/run`` on ``root/data``.

    Args:
        weights: by modality; None makes files that hold none.
        labels: of the dataset.
        data: fields of the dataset that differ.
        body: entries of run.json that differ.
    """
    info = DatasetInfo(
        root=root / "data",
        modalities=("ct", "pet"),
        reference_modality="ct",
        spacing_mm=(3.0, 2.0, 2.0),
        normalisation={"ct": Normalisation.parse("hu:-150:250"), "pet": Normalisation.parse("suv:0:12")},
        labels=labels or LabelDefinition.plain((1, 2)),
        layout="hecktor",
        partitions={},
        shard_sha256={},
    )
    info = dataclasses.replace(info, **(data or {})).with_hash()
    info.save(info.root)
    folder = root / "run"
    for modality in info.modalities:
        path = weights_file(folder, modality)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{f"{index:04d}": value for index, value in enumerate((weights or {}).get(modality, ()))})
    usual = {
        "dataset": str(info.root),
        "data_hash": info.data_hash,
        "run_hash": "abc",
        "modalities": ["ct", "pet"],
        "window": spec.window,
        "width": spec.width,
        "network": spec.to_json(),
        "best": {
            "ct": {"dice": 0.6, "threshold": 0.4, "step": 3, "stage": "semi_cml"},
            "pet": {"dice": 0.7, "threshold": 0.5, "step": 4, "stage": "prel"},
        },
        "settings": {"method": ["semi_cml", "prel"], "seed": 3},
    }
    (folder / "run.json").write_text(json.dumps(usual | body))
    return folder
