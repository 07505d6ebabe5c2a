"""The whole way in small: volumes on disk to masks over gRPC, in processes of their own."""

import filecmp
import json

import nibabel
import numpy as np
import pytest

from semicml_tf import commandline
from tests.support.tiny_study import TINY_STUDY

STUDY = (
    TINY_STUDY
    + """
--cases=7
--labelled=2
--validation=1
--test=2
--steps_per_epoch=3
"""
)


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    root = tmp_path_factory.mktemp("job")
    (root / "study.flags").write_text(STUDY)
    commandline.call("pipelines.main_job", [f"--study={root / 'study.flags'}", f"--output={root / 'out'}"])
    return root


@pytest.mark.slow
def test_masks_lie_on_their_inputs_grids(job):
    masks = sorted((job / "out" / "masks").glob("*.nii.gz"))
    assert len(masks) == 4  # Two modalities, served and in process.
    for mask in masks:
        case, modality = mask.name.split(".")[0].split("_", 2)[:2], mask.name.split(".")[0].split("_")[2]
        suffix = {"ct": "CT", "pet": "PT"}[modality]
        image = nibabel.load(job / "out" / "volumes" / "imagesTr" / f"{'_'.join(case)}__{suffix}.nii.gz")
        found = nibabel.load(mask)
        assert found.shape == image.shape and np.array_equal(found.affine, image.affine)
        assert set(np.unique(found.get_fdata())) <= {0.0, 1.0}


@pytest.mark.slow
def test_served_and_local_masks_are_the_same_file(job):
    for modality in ("ct", "pet"):
        served, local = sorted((job / "out" / "masks").glob(f"*_{modality}*.nii.gz"))
        assert filecmp.cmp(served, local, shallow=False)


@pytest.mark.slow
def test_each_step_left_what_the_next_one_reads(job):
    out = job / "out"
    metrics = json.loads((out / "run" / "evaluation" / "test" / "metrics.json").read_text())
    assert [row["kind"] for row in metrics["rows"]] == ["network", "network", "blind", "blind"]
    manifest = json.loads((out / "models" / "pet" / "1" / "assets.extra" / "manifest.json").read_text())
    assert (out / "run" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    choice = json.loads((out / "run" / "postprocessing.json").read_text())["modalities"]["pet"]["chosen"]
    assert manifest["postprocessing"] == metrics["postprocessing"]["pet"] == choice
    assert manifest["modality"] == "pet" and manifest["data_hash"] == metrics["dataset"]["data_hash"]


@pytest.mark.slow
def test_a_margin_that_is_not_reached_fails_the_job(job):
    """Three steps teach nothing; the finished steps are not run again."""
    from semicml_tf.errors import UserError

    arguments = [f"--study={job / 'study.flags'}", f"--output={job / 'out'}", "--require_margin=0.9"]
    with pytest.raises(UserError, match="short of"):
        commandline.call("pipelines.main_job", arguments)
