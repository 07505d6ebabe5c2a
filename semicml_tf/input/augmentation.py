"""How strongly training varies its slices: the levels of ``--augmentation``."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How strongly slices vary. Everything at 0 is off.

    Attributes:
        place: slices smaller than the window lie at random in it; otherwise in its middle. (Larger slices are
            always cut at random.)
        flip: mirrored left-right in half of the samples.
        flip_volume: patches of three dimensions are also mirrored along slices and along rows, each in half of the
            samples.
        rotation_degrees: rotated by up to this much either way.
        scale: enlarged or shrunk by up to this fraction.
        gain, offset: each modality's intensities are multiplied by up to 1 ± gain and shifted by up to
            ± offset (of normalised values), independently.
        noise: largest standard deviation of Gaussian noise on normalised values, drawn for each modality.
        elastic: probability of an elastic deformation; see `spatial.elastic`.
        bias_field, gamma, blur, low_resolution: probability of each change of a modality's intensities, drawn for
            each modality; see `intensity`. Only modalities whose values have no unit, as of MR, get a bias field.
        cutmix: probability that a box of another patient is pasted; see `mixing.cutmix`.
    """

    place: bool = True
    flip: bool = True
    flip_volume: bool = False
    rotation_degrees: float = 15.0
    scale: float = 0.2
    gain: float = 0.1
    offset: float = 0.1
    noise: float = 0.05
    elastic: float = 0.0
    bias_field: float = 0.0
    gamma: float = 0.0
    blur: float = 0.0
    low_resolution: float = 0.0
    cutmix: float = 0.0


NONE = Augmentation(place=False, flip=False, rotation_degrees=0.0, scale=0.0, gain=0.0, offset=0.0, noise=0.0)
LIGHT = Augmentation()
# Probabilities of nnU-Net: elastic deformation of version 1, the others of version 2, whose two gamma transforms are
# one here. For a bias field, TorchIO leaves the probability to its users. For CutMix: Yun et al., ICCV 2019.
STRONG = dataclasses.replace(
    LIGHT, flip_volume=True, elastic=0.2, bias_field=0.3, gamma=0.4, blur=0.2, low_resolution=0.25, cutmix=0.5
)
LEVELS = {"none": NONE, "light": LIGHT, "strong": STRONG}
# Names of levels in earlier versions.
FORMER_LEVELS = {"standard": "light"}
