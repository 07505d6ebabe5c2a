"""The log of a run: the order of TensorBoard's file and the pictures, and missing disk space."""

import resource

import numpy as np
import pytest
import tensorflow as tf

from semicml_tf.errors import UserError
from semicml_tf.training.monitoring import run_log
from semicml_tf.training.validation import Validated
from tests.support.tensorboard_files import logged

ROW = {"epoch": 0, "stage": "semi_cml", "step": 5, "loss": 2.0, "dice_ct": 0.1}


def _shown():
    image, label = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint8)
    return Validated(
        {"ct": {"lesion": 0.1}},
        {"ct": (0.5,)},
        (),
        {"case": ({"ct": image}, label[np.newaxis], {"ct": image[np.newaxis]})},
    )


def test_tensorboard_has_a_picture_before_its_file_exists(tmp_path, monkeypatch):
    """A run that goes on after a kill draws no picture whose file is there."""
    write, seen = run_log.atomic_files.write_file, []

    def watched(path, writer):
        if path.parent.name == "pictures":
            seen.append(logged(tmp_path))
        write(path, writer)

    monkeypatch.setattr(run_log.atomic_files, "write_file", watched)
    run = run_log.RunRecord(tmp_path, {})
    assert not run.has_picture(0)
    run.epoch([ROW], _shown())
    assert seen == [[(5, "dice/ct"), (5, "loss"), (5, "validation")]] and run.has_picture(0)


def test_no_space_for_tensorboard_is_reported_in_one_line(tmp_path, monkeypatch):
    """A limit on the size of files stands for it, from when all but TensorBoard's is written."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    create = tf.summary.create_file_writer

    def without_space(folder):
        writer = create(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
        return writer

    monkeypatch.setattr(tf.summary, "create_file_writer", without_space)
    try:
        with pytest.raises(
            UserError, match=r"tensorboard: .*cannot be written \(.+\). Free some space.*--resume"
        ) as caught:
            run_log.RunRecord(tmp_path, {}).epoch([ROW], None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in caught.value.line
    assert (tmp_path / "history.csv").read_text().splitlines()[1].startswith("0,semi_cml,5")
