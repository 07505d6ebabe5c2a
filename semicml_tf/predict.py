"""Segments one volume with an exported model of its modality.

    python -m semicml_tf.predict --model=models/ct --input=in.nii.gz --output=mask.nii.gz

The mask (uint8, 0/1) lies on the input's own grid. For research only, not for clinical use.
"""

from __future__ import annotations

import pathlib

import numpy as np
from absl import flags

from semicml_tf import commandline
from semicml_tf.errors import UserError
from semicml_tf.inference.volume import Segmenter, check_modality, check_units

POSITIONAL = ("input", "output")


def define_volume_flags(values: flags.FlagValues) -> None:
    """The flags of every command that segments a volume, wherever the network runs."""
    flags.DEFINE_string("input", None, "The volume: NIfTI in native units (HU, SUV, MR).", flag_values=values)
    flags.DEFINE_string("output", None, "Mask to write, .nii or .nii.gz, on the input's own grid.", flag_values=values)
    flags.DEFINE_string(
        "modality", None, "Modality of the input, compared with the model's; refuses another.", flag_values=values
    )
    flags.DEFINE_string("probabilities", None, "Also write the probabilities (float32 NIfTI) here.", flag_values=values)
    flags.DEFINE_integer("batch_size", 16, "Slices sent to the network at once.", lower_bound=1, flag_values=values)


def define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "model", None, "Folder of an exported model: a version, or versions (the highest is used).", flag_values=values
    )
    define_volume_flags(values)


def require(values: flags.FlagValues, *names: str) -> None:
    """Raises UserError unless the flags have values."""
    for name in names:
        if not getattr(values, name):
            raise UserError(f"expected --{name}", remedy="See --help")


class _WithProgress(Segmenter):
    """A segmenter that shows the slices done, on stderr."""

    def __init__(self, model: Segmenter):
        super().__init__(model.manifest)
        import tqdm

        self._model = model
        self.bar = tqdm.tqdm(unit=" slices", desc=f"segment {model.manifest.modality}", leave=False)

    def slices(self, batch: np.ndarray) -> np.ndarray:
        found = self._model.slices(batch)
        self.bar.update(len(batch))
        return found


def segment_file(model: Segmenter, values: flags.FlagValues) -> None:
    """Reads --input, segments it with `model`, writes --output and, if asked for, --probabilities.

    Raises:
        UserError: the input is no volume of the model's modality, or an output cannot be written.
    """
    from semicml_tf.files.nifti import read_volume
    from semicml_tf.files.write_nifti import check_output, write_array, write_mask

    check_modality(model.manifest, values.modality)
    for path in filter(None, (values.output, values.probabilities)):
        check_output(path, like=values.input)
    if values.probabilities and pathlib.Path(values.probabilities).resolve() == pathlib.Path(values.output).resolve():
        raise UserError("--output and --probabilities name one file", path=values.output)
    array, grid = read_volume(values.input)
    try:
        check_units(array, model.manifest)
    except UserError as error:
        raise UserError(error.problem, path=values.input, remedy=error.remedy) from error
    shown = _WithProgress(model)
    with shown.bar:
        probabilities = shown.probabilities(array, grid.affine, batch_size=values.batch_size)
    mask = model.mask(probabilities, grid.affine)
    if values.probabilities:
        write_array(values.probabilities, probabilities, like=values.input)
    write_mask(values.output, mask, like=values.input)
    millilitres = np.count_nonzero(mask) * grid.voxel_volume_ml
    print(f"{values.output}: {np.count_nonzero(mask)} voxels, {millilitres:.1f} ml, from {model.manifest.modality}")


def main(values: flags.FlagValues) -> None:
    require(values, "model", "input", "output")
    from semicml_tf.artefact.load import load

    segment_file(load(values.model), values)


if __name__ == "__main__":
    commandline.run("semicml_tf.predict")
