"""One case from its images to its mask and maps on disk."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Iterator, Mapping

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import seg_writer
from semicml_tf.files.nifti import writer
from semicml_tf.files.source import NiftiFile, Source
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import reaches
from semicml_tf.inference import uncertainty
from semicml_tf.inference.inputs import Case
from semicml_tf.inference.volume import Segmenter
from semicml_tf.preprocessing.pipeline import to_patient_grid

MAPS = ("probabilities", "entropy", "mutual_information", "disagreement")


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What is written of a case, all on the grid of its first image.

    Attributes:
        mask: uint8 0/1; where it ends in .dcm, a DICOM-SEG, which needs a DICOM series.
        maps: by name, of `MAPS`: float32.
    """

    mask: pathlib.Path
    maps: Mapping[str, pathlib.Path]

    def files(self) -> dict[str, pathlib.Path]:
        """All paths by what they hold."""
        return {"mask": self.mask, **self.maps}

    def check(self, case: Case) -> None:
        """Refuses names of outputs before any work is done.

        Raises:
            UserError: an output does not end as its format does, would replace an input or another output.
        """
        taken: dict[pathlib.Path, str] = {}
        as_dicom = self.mask.name.endswith(seg_writer.SUFFIX)
        if as_dicom and any(os.path.isfile(path) for path in case.images.values()):
            raise UserError(
                "a DICOM-SEG refers to DICOM images, got a file as input",
                path=self.mask,
                remedy="Name an output that ends in .nii.gz, or the folder of a DICOM series as --input",
            )
        for what, path in (self.maps if as_dicom else self.files()).items():
            for image in case.images.values():
                writer.check_output(path, like=image)
            other = taken.setdefault(path.resolve(), what)
            if other != what:
                flags = " and ".join("--output" if name == "mask" else f"--{name}" for name in (other, what))
                raise UserError(f"{flags} name one file", path=path)


class Fusion:
    """Probability maps of several modalities on one grid, averaged.

    A voxel that only one image covers has that modality's probability and threshold. Elsewhere both are means.

    Args:
        first: float32 probabilities of the modality whose grid is used. Its image covers all voxels.
        threshold: threshold of that modality.
    """

    def __init__(self, first: np.ndarray, threshold: float):
        self._sum = first.astype(np.float32)
        self._count = np.ones(first.shape, np.uint8)
        self._thresholds = [(threshold, None)]

    def add(self, probabilities: np.ndarray, covered: np.ndarray, threshold: float) -> None:
        """Adds a further modality's map where its image covers the grid (`covered`, bool)."""
        self._sum[covered] += probabilities[covered]
        self._count += covered
        self._thresholds.append((threshold, covered))

    def probabilities(self) -> np.ndarray:
        """The mean probabilities, float32."""
        return self._sum / self._count

    def threshold(self) -> float | np.ndarray:
        """The mean threshold: a number if all are equal, otherwise float32 of the maps' shape."""
        if len({threshold for threshold, _ in self._thresholds}) == 1:
            return self._thresholds[0][0]
        total = np.zeros(self._sum.shape, np.float32)
        for threshold, covered in self._thresholds:
            total[... if covered is None else covered] += np.float32(threshold)
        return total / self._count


def _draws(source: Source, model: Segmenter, batch_size: int, warnings: list[str]) -> tuple[Grid, Iterator[np.ndarray]]:
    """The image's grid, and the maps drawn of the image. The image itself leaves the memory."""
    array, grid = source.read_volume()
    try:
        prepared = model.prepare(array, grid.affine)
    except UserError as error:
        raise UserError(error.problem, path=source.path, remedy=error.remedy, code=error.code) from error
    warnings += [f"{one.code}: {one.problem}" for one in model.warnings(prepared)]
    return grid, model.draws(prepared, batch_size=batch_size)


def _moments(
    source: Source, model: Segmenter, batch_size: int, entropies: bool, warnings: list[str]
) -> tuple[Grid, uncertainty.Moments]:
    grid, draws = _draws(source, model, batch_size, warnings)
    moments = uncertainty.Moments(entropies=entropies)
    for drawn in draws:
        moments.add(drawn)
    return grid, moments


def _on_grid(
    source: Source, model: Segmenter, grid: Grid, batch_size: int, warnings: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """A further modality's probabilities on the first one's grid, and bool: where its image is."""
    own, moments = _moments(source, model, batch_size, False, warnings)
    return to_patient_grid(moments.mean(), own, grid), reaches(own, grid)


def segment_case(
    case: Case, models: Mapping[str, Segmenter], outputs: Outputs, *, batch_size: int, fuse: bool = False
) -> dict:
    """Segments a case and writes its outputs, each whole or not at all and the mask last.

    Args:
        case: an image of each modality. They are of one patient in one position; their grids may differ.
        models: by modality. The first one's mask and maps are written; the others are there to disagree, or to fuse.
        outputs: what to write.
        batch_size: slices a call, at most.
        fuse: mask, probabilities and entropy are those of all modalities together (see `Fusion`), on the first
            one's grid and with its post-processing.

    Returns:
        For `predictions.json`: ``voxels`` and ``ml`` of the mask, ``threshold`` (fused: the mean of all),
        ``postprocessing``, ``seconds``; with a disagreement or fused also ``compared``, the share of voxels that all
        images reach; ``warnings``, where an image is odd.

    Raises:
        UserError: an image is none of its model's modality, or an output cannot be written.
    """
    start = time.monotonic()
    outputs.check(case)
    first, model = next(iter(models.items()))
    sources = {name: case.source(name) for name in models}
    if outputs.mask.name.endswith(seg_writer.SUFFIX):
        seg_writer.check(sources[first])  # before the network works for nothing
    warnings: list[str] = []
    entropies = "mutual_information" in outputs.maps
    grid, moments = _moments(sources[first], model, batch_size, entropies, warnings)
    probabilities, threshold = moments.mean(), model.manifest.threshold
    facts: dict = {}

    def write(name: str, array: np.ndarray) -> None:
        if name in outputs.maps:
            write_array(outputs.maps[name], array, sources[first], grid)

    if fuse or "disagreement" in outputs.maps:
        others = {name: other for name, other in models.items() if name != first}
        further = {name: _on_grid(sources[name], other, grid, batch_size, warnings) for name, other in others.items()}
        covered = np.logical_and.reduce([np.ones(grid.shape, bool), *(reached for _, reached in further.values())])
        facts["compared"] = float(np.mean(covered))
        if "disagreement" in outputs.maps:
            write(
                "disagreement",
                uncertainty.disagreement([probabilities, *(moved for moved, _ in further.values())], covered),
            )
        if fuse:
            fusion = Fusion(probabilities, threshold)
            for name, (moved, reached) in further.items():
                fusion.add(moved, reached, others[name].manifest.threshold)
            probabilities, threshold = fusion.probabilities(), fusion.threshold()
            facts["threshold"] = float(np.mean([one.manifest.threshold for one in models.values()]))
    write("probabilities", probabilities)
    if "entropy" in outputs.maps:
        write("entropy", uncertainty.binary_entropy(probabilities))
    if "mutual_information" in outputs.maps:
        write("mutual_information", moments.mutual_information())
    mask = model.mask(probabilities, grid.affine, threshold=threshold)
    if outputs.mask.name.endswith(seg_writer.SUFFIX):
        drawers = list(models.values()) if fuse else [model]
        hashes = [origin["run_hash"] for drawer in drawers for origin in drawer.origins()]
        seg_writer.write_segmentation(outputs.mask, mask, sources[first], modality=first, models=hashes)
    else:
        write_array(outputs.mask, mask, sources[first], grid)
    voxels = int(np.count_nonzero(mask))
    return {
        "voxels": voxels,
        "ml": voxels * grid.voxel_volume_ml,
        "threshold": model.manifest.threshold,
        "postprocessing": str(model.manifest.postprocessing),
        **facts,
        **({"warnings": warnings} if warnings else {}),
        "seconds": round(time.monotonic() - start, 3),
    }


def write_array(path: pathlib.Path, array: np.ndarray, source: Source, grid: Grid) -> None:
    """Writes a result in place over its image: with a NIfTI's own header, else with the grid alone."""
    if isinstance(source, NiftiFile):
        writer.write_array(path, array, like=source.path, channel=source.channel)
    else:
        writer.write_on_grid(path, array, grid)
