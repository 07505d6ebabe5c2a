"""The options of the command `inspect`."""

from __future__ import annotations

import dataclasses

from semicml_tf.configuration import check, option
from semicml_tf.storage import cache


@dataclasses.dataclass(frozen=True, kw_only=True)
class InspectConfig:
    """What to show and check of a converted dataset; see the help of each option."""

    path: str = option(help="Folder or URL of a dataset, or one .tfrecord file.", path=True)
    check: bool = option(True, "Read each record. --nocheck shows only the content of dataset.json, at once.")
    list: bool = option(False, "Print a line for each case of a dataset.")
    cards: bool = option(False, "Print a line for each case of a dataset with its spacing, intensities and lesion.")
    json: str | None = option(None, "JSON file to write, with all that is shown and each case.", path=True)
    case: str | None = option(
        None,
        "Write this case to --output as NIfTI: the images in native units, and the label on the grid of the record "
        "and on the patient's own grid. Values outside the normalisation's window are written as its limits.",
    )
    output: str | None = option(None, "Folder for the files of --case.", path=True)
    export_nnunet: str | None = option(
        None,
        "Write the labelled, validation and test patients as a raw dataset of nnU-Net v2 into this folder: "
        "DIR/DatasetNNN_NAME, on the patients' own grids, without labels of test patients.",
        path=True,
    )
    modalities: tuple[str, ...] = option((), "Channels of --export_nnunet, in order. Default: all of the dataset's.")
    input: str | None = option(
        None,
        "With --export_nnunet, the folder or manifest that was converted: images come from its files. Default: from "
        "the records, which were resampled to the network's grid and clipped to the normalisation's window.",
        path=True,
    )
    cache_dir: str | None = option(
        None,
        f"Folder of the shards that are fetched from a URL. Default: ${cache.VARIABLE}, else ~/.cache/semicml_tf.",
        path=True,
    )
    overwrite: bool = option(False, "Replace files of --case that are in --output, or a former --export_nnunet.")

    def __post_init__(self):
        check(self, self._contradictions())

    def _contradictions(self):
        if bool(self.case) != bool(self.output):
            yield "expected --case and --output together", "Pass both, or neither"
        if self.case and self.export_nnunet:
            yield "expected --case or --export_nnunet, got both", "Leave one of them out"
        if len(set(self.modalities)) < len(self.modalities):
            yield f"--modalities names a modality twice: {','.join(self.modalities)}", ""
