"""The options of the commands that segment volumes, wherever the network runs."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.inference.averaging import Averaging
from semicml_tf.inference.slices import BATCH_SIZE


@dataclasses.dataclass(frozen=True, kw_only=True)
class SegmentConfig(Averaging):
    """What is segmented, and what is written. Shared by predict and by the clients of a server."""

    input: str = option(
        help="The volume: NIfTI in native units (HU, SUV, MR), or the folder of a DICOM series. Several volumes, "
        "separated by commas, or a folder of volumes. With names, ct=PATH,pet=PATH (registered images), a folder gives "
        "the files that end in _ct, _pet or the like; cases go by the rest of the files' names. A CSV manifest, or a "
        "folder in one of conversion's layouts, is read as conversion reads it.",
        path=True,
    )
    output: str = option(
        help="Mask to write, .nii or .nii.gz, on the (first) input's own grid; .dcm gives a DICOM-SEG on a DICOM "
        "series. For several inputs: the folder of their masks. Of several regions, a mask per region: "
        "mask_NAME.nii.gz.",
        path=True,
    )
    modality: str | None = option(
        None, help="Modality of the input. A model of another modality is refused.", group="Model"
    )
    batch_size: int = option(BATCH_SIZE, help="Slices per call of the network.", low=1, group="Model")
    mc_dropout: int = option(
        0, help="Passes with Monte-Carlo dropout, whose mean is the answer. 0 means no dropout.", low=0, group="Model"
    )
    seed: int = option(0, help="Seed of the dropout.", low=0, group="Model")
    mask_threshold: tuple[str, ...] = option(
        (),
        help="Threshold on the probability instead of the model's own: a number for one region, or NAME=VALUE,... for "
        "some of several regions.",
        group="Model",
    )
    postprocess: str | None = option(
        None,
        help="Post-processing instead of the model's own: none, or steps joined by +, of fill_holes, min_ml=ML, "
        "largest. NAME=STEPS,... sets some classes alone, for example wt=largest,et=fill_holes+min_ml=0.5.",
        group="Model",
    )
    probabilities: str | None = option(
        None,
        help="Also write the probabilities (float32 NIfTI) here. For several inputs: a folder, as for all maps. Of "
        "several classes, all maps are files per class: NAME is added to the file's name.",
        path=True,
        group="Further outputs",
    )
    entropy: str | None = option(
        None, help="Also write the entropy of the probabilities in bits, 0 (sure) to 1.", path=True,
        group="Further outputs",
    )  # fmt: skip
    mutual_information: str | None = option(
        None,
        help="Also write, in bits, the disagreement of the passes of --mc_dropout, or of the models of an ensemble.",
        path=True,
        group="Further outputs",
    )
    disagreement: str | None = option(
        None,
        help="Also write the difference, 0 to 1, between the probabilities of the models of several modalities.",
        path=True,
        group="Further outputs",
    )
    overlay: str | None = option(
        None, help="Also draw the mask over its image here (PNG). For one input only.", path=True,
        group="Further outputs",
    )  # fmt: skip
    dicom_seg: bool = option(
        False,
        help="For several DICOM series: write each mask as a DICOM-SEG (.dcm) instead of NIfTI.",
        group="Further outputs",
    )
    segment_codes: tuple[str, ...] = option(
        (),
        help="NAME=SCHEME:CODE:MEANING,...: codes of the classes in a DICOM-SEG, for example liver=SCT:10200004:Liver.",
        group="Further outputs",
    )
    accept: tuple[str, ...] = option(
        (),
        help="CODE,...: segment images that are refused with these codes of docs/conversion.md, for example "
        "suv_too_low. Codes that the model's study accepted need not be given.",
        group="Checks",
    )
    max_voxels: int = option(
        1 << 30, help="A volume with more voxels is refused before memory is allocated.", low=1, group="Checks"
    )
    overwrite: bool = option(
        False, help="For several inputs: segment also cases that are finished already.", group="Checks"
    )

    def __post_init__(self):
        check(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Models:
    model: str = option(
        help="Folder of an exported model: a version, or versions (the highest is used). Several models of one "
        "modality, separated by commas, are averaged. Models of several modalities: ct=FOLDER,pet=FOLDER; the first "
        "one draws the mask.",
        path=True,
    )
    fuse: bool = option(
        False,
        help="For models of several modalities: mask, probabilities and entropy come from the mean of their "
        "probabilities, on the first one's grid and with its post-processing.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(SegmentConfig, _Models):
    """Options of `semicml_tf.predict`."""
