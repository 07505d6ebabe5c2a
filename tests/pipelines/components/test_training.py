"""The folder of unfinished work, and the copy of the finished run."""

import os

import pytest

from pipelines.components import training
from semicml_tf.errors import UserError


def test_work_folder_depends_on_the_step_and_all_inputs(tmp_path):
    first = training.work_folder(tmp_path, "Trainer", "data", "flags")
    assert first == training.work_folder(tmp_path, "Trainer", "data", "flags")
    others = [("Trainer", "data", "other"), ("Trainer", "dataf", "lags"), ("Other", "data", "flags")]
    assert len({first, *(training.work_folder(tmp_path, *one) for one in others)}) == 4


def test_hand_over_links_the_files_and_keeps_the_original(tmp_path):
    (tmp_path / "work" / "checkpoints").mkdir(parents=True)
    (tmp_path / "work" / "checkpoints" / "best.npz").write_bytes(b"weights")
    (tmp_path / "target").mkdir()
    training.hand_over(tmp_path / "work", tmp_path / "target")
    copy, original = (tmp_path / name / "checkpoints" / "best.npz" for name in ("target", "work"))
    assert copy.read_bytes() == b"weights" and os.path.samefile(copy, original)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write here"):
        training.hand_over(tmp_path / "work", tmp_path / "file")
