"""One case from its images to its mask and maps on disk."""

from __future__ import annotations

import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from semicml_tf.errors import UserError
from semicml_tf.files.dicom import seg_writer
from semicml_tf.files.nifti import writer
from semicml_tf.files.source import NiftiFile, Source
from semicml_tf.geometry.grid import Grid
from semicml_tf.geometry.resample import reaches
from semicml_tf.inference import uncertainty
from semicml_tf.inference.class_masks import source_values
from semicml_tf.inference.inputs import Case
from semicml_tf.inference.outputs import Outputs
from semicml_tf.inference.volume import Segmenter
from semicml_tf.preprocessing.pipeline import to_patient_grid
from semicml_tf.system import atomic_files


class Fusion:
    """The arithmetic mean of several modalities' probability maps of one class on one grid.

    The pseudo-labels of PReL (`methods.soft_labels`) add log-odds instead. A mean stays comparable with the thresholds
    that validation chose for each model.

    A voxel that only one image covers has that modality's probability and threshold. Elsewhere both are means.

    Args:
        first: float32 probabilities of the modality whose grid is used. Its image covers all voxels.
        threshold: threshold of that modality; None for exclusive classes.
    """

    def __init__(self, first: np.ndarray, threshold: float | None):
        self._sum = first.astype(np.float32)
        self._count = np.ones(first.shape, np.uint8)
        self._thresholds = [(threshold, None)]

    def add(self, probabilities: np.ndarray, covered: np.ndarray, threshold: float | None) -> None:
        """Adds a further modality's map where its image covers the grid (`covered`, bool)."""
        self._sum[covered] += probabilities[covered]
        self._count += covered
        self._thresholds.append((threshold, covered))

    def probabilities(self) -> np.ndarray:
        """The mean probabilities, float32."""
        return self._sum / self._count

    def threshold(self) -> float | np.ndarray | None:
        """The mean threshold: a number (or None) if all are equal, otherwise float32 of the maps' shape."""
        if len({threshold for threshold, _ in self._thresholds}) == 1:
            return self._thresholds[0][0]
        total = np.zeros(self._sum.shape, np.float32)
        for threshold, covered in self._thresholds:
            total[... if covered is None else covered] += np.float32(threshold)
        return total / self._count


def _draws(
    source: Source, model: Segmenter, batch_size: int, warnings: list[str]
) -> tuple[Grid, Iterator[Sequence[np.ndarray]]]:
    """The image's grid, and the draws from the image. The image itself leaves the memory."""
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
    for draw in draws:
        moments.add(draw)
    return grid, moments


class _Other:
    """A further modality's probabilities on the first one's grid, and bool: where its image is."""

    def __init__(self, source: Source, model: Segmenter, grid: Grid, batch_size: int, warnings: list[str]):
        self._own, self._moments = _moments(source, model, batch_size, False, warnings)
        self._grid, self.thresholds, self.reached = grid, model.manifest.thresholds, reaches(self._own, grid)
        self._only = None
        if model.manifest.classes == 1:  # its own grid then leaves the memory
            self._only, self._moments = self.map(0), None

    def map(self, number: int) -> np.ndarray:
        if self._only is not None:
            return self._only
        return to_patient_grid(self._moments.mean(number), self._own, self._grid)


def segment_case(
    case: Case,
    models: Mapping[str, Segmenter],
    outputs: Outputs,
    *,
    batch_size: int,
    fuse: bool = False,
    segment_codes: Mapping[str, seg_writer.Code] | None = None,
) -> dict:
    """Segments a case and writes its outputs, each whole or not at all and the masks last.

    Args:
        case: an image of each modality. They are of one patient in one position; their grids may differ.
        models: by modality. The first one's mask and maps are written; the others are there to disagree, or to fuse.
        outputs: what to write.
        batch_size: slices a call, at most.
        fuse: mask, probabilities and entropy are those of all modalities together (see `Fusion`), on the first
            one's grid and with its post-processing.
        segment_codes: by class, for a DICOM-SEG.

    Returns:
        For `predictions.json`: ``voxels`` and ``ml`` of the mask, ``threshold`` (fused: the mean of all),
        ``postprocessing``, ``seconds``; with a disagreement or fused also ``compared``, the share of voxels that all
        images reach; ``warnings``, where an image is odd. Of several classes, the first four by class.

    Raises:
        UserError: an image is none of its model's modality, or an output cannot be written.
    """
    start = time.monotonic()
    outputs.check(case)
    first, model = next(iter(models.items()))
    sources = {name: case.source(name) for name in models}
    if outputs.is_dicom:
        seg_writer.check(sources[first])  # before the network works for nothing
    warnings: list[str] = []
    manifest, labels = model.manifest, model.manifest.labels
    grid, moments = _moments(sources[first], model, batch_size, "mutual_information" in outputs.maps, warnings)
    facts: dict = {}
    others: list[_Other] = []
    if fuse or "disagreement" in outputs.maps:
        others = [
            _Other(sources[name], other, grid, batch_size, warnings) for name, other in models.items() if name != first
        ]
        covered = np.logical_and.reduce([np.ones(grid.shape, bool), *(other.reached for other in others)])
        facts["compared"] = float(np.mean(covered))
    masks = model.class_masks(grid.voxel_volume_ml)

    def write(what: str, name: str, array: np.ndarray) -> None:
        write_array(outputs.map_of(what, name), array, sources[first], grid)

    for number, name in enumerate(labels.names):
        probabilities, threshold = moments.mean(number), manifest.thresholds.get(name)
        if others:
            moved = [other.map(number) for other in others]
            if "disagreement" in outputs.maps:
                write("disagreement", name, uncertainty.disagreement([probabilities, *moved], covered))
            if fuse:
                fusion = Fusion(probabilities, threshold)
                for other, one in zip(others, moved):
                    fusion.add(one, other.reached, other.thresholds.get(name))
                probabilities, threshold = fusion.probabilities(), fusion.threshold()
                del fusion
            del moved
        if "probabilities" in outputs.maps:
            write("probabilities", name, probabilities)
        if "entropy" in outputs.maps:
            write("entropy", name, uncertainty.binary_entropy(probabilities))
        if "mutual_information" in outputs.maps:
            write("mutual_information", name, moments.mutual_information(number))
        masks.add(probabilities, threshold)
    _write_masks(outputs, masks, sources[first], grid, first, list(models.values()) if fuse else [model], segment_codes)
    voxels = {name: int(np.count_nonzero(mask)) for name, mask in zip(labels.names, masks.masks())}
    ml = {name: count * grid.voxel_volume_ml for name, count in voxels.items()}
    facts |= {"voxels": voxels, "ml": ml, "postprocessing": {name: str(one) for name, one in manifest.steps.items()}}
    if not labels.exclusive:
        every = [one.manifest.thresholds for one in (models.values() if fuse else [model])]
        facts["threshold"] = {name: float(np.mean([one[name] for one in every])) for name in labels.names}
        if len(labels.names) == 1:
            facts |= {key: facts[key][labels.names[0]] for key in ("voxels", "ml", "threshold", "postprocessing")}
    return {
        **{key: facts[key] for key in ("voxels", "ml", "threshold", "postprocessing", "compared") if key in facts},
        **({"warnings": warnings} if warnings else {}),
        "seconds": round(time.monotonic() - start, 3),
    }


def _write_masks(outputs: Outputs, masks, source: Source, grid: Grid, modality: str, drawers, segment_codes) -> None:
    labels = outputs.labels
    if outputs.is_dicom:
        hashes = [origin["run_hash"] for drawer in drawers for origin in drawer.origins()]
        named = dict(zip(labels.names, masks.masks()))
        seg_writer.write_segmentation(
            outputs.mask, named, source, modality=modality, models=hashes, codes=segment_codes or {}
        )
    elif labels.exclusive:
        body = {"values": {name: values[0] for name, values in labels.classes.items()}, "background": 0}
        atomic_files.write_json(outputs.classes_file(), body)
        write_array(outputs.mask, source_values(masks.labels(), labels), source, grid)
    else:
        for path, mask in zip(outputs.masks().values(), masks.masks()):
            write_array(path, mask, source, grid)


def write_array(path: pathlib.Path, array: np.ndarray, source: Source, grid: Grid) -> None:
    """Writes a result in place over its image: with a NIfTI's own header, else with the grid alone."""
    if isinstance(source, NiftiFile):
        writer.write_array(path, array, like=source.path, channel=source.channel)
    else:
        writer.write_on_grid(path, array, grid)
