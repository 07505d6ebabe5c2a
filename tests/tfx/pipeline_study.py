"""A tiny study, and one run of its pipeline after another."""

import json
import pathlib

from semicml_tf import commandline
from tests.support.tiny_study import TINY_STUDY

STUDY = (
    TINY_STUDY
    + """
--cases=8
--labelled=3
--validation=2
--test=1
--steps_per_epoch=40
--learning_rate=0.02
"""
)
# The phantom's curated schema is that of a finer one; so few patients have scores that mean nothing.
ALWAYS = ("--on_anomaly=warn", "--evaluate_flag=--case_images=none", "--min_dice=0", "--max_slice_loss=1")


class Job:
    """A folder with a study, in which its pipeline runs."""

    def __init__(self, root: pathlib.Path):
        self.root, self.output = root, root / "out"
        (root / "study.flags").write_text(STUDY)

    def arguments(self, *further: str) -> list[str]:
        """Of the local runner."""
        return [f"--study={self.root / 'study.flags'}", f"--output={self.output}", *ALWAYS, *further]

    def run(self, *further: str) -> dict[str, dict]:
        """Runs the pipeline; returns what became of each component."""
        commandline.call("pipelines.local_runner", self.arguments(*further))
        return self.told()

    def told(self) -> dict[str, dict]:
        """What became of each component in the latest run."""
        return {one["component"]: one for one in json.loads((self.output / "run.json").read_text())["components"]}

    def versions(self, modality: str) -> list[str]:
        """Numbers of the published versions."""
        return sorted(entry.name for entry in (self.output / "models" / modality).iterdir())

    def artefacts(self, component: str, key: str) -> list[pathlib.Path]:
        """Folders of a component's outputs, oldest first."""
        folders = (self.output / "root" / component / key).iterdir()
        return sorted((one for one in folders if one.name.isdecimal()), key=lambda one: int(one.name))

    def manifest(self, modality: str, version: str) -> dict:
        """Of a published version."""
        folder = self.output / "models" / modality / version
        return json.loads((folder / "assets.extra" / "manifest.json").read_text())


def of_status(told: dict[str, dict], status: str) -> set[str]:
    """Names of the components with this status."""
    return {name for name, one in told.items() if one["status"] == status}
