"""The benchmark of records runs, compares equal contents, and prints its table; its numbers are not judged here."""

import re

import numpy as np
import tensorflow as tf

from benchmarks import records_io
from semicml_tf import commandline
from semicml_tf.records import case_record


def test_a_small_run(monkeypatch, capsys):
    monkeypatch.setattr(records_io, "SHAPE", (5, 12, 9))
    commandline.call("benchmarks.records_io", ["--cases=2", "--rounds=1"])
    shown = capsys.readouterr().out
    rows = [line for line in shown.splitlines() if re.match(r"\| (write|read), ", line)]
    assert len(rows) == 6 and "2 pairs of 5 x 12 x 9" in shown and "CRC-32C in C" in shown
    assert all(len(row.split("|")) == 7 for row in rows)


def test_all_writers_hold_the_same_numbers(monkeypatch, tmp_path):
    monkeypatch.setattr(records_io, "SHAPE", (5, 12, 9))
    record = records_io.pair(3)
    for write in (records_io.write_ours, records_io.write_by_tensorflow, records_io.write_lists):
        write(tmp_path / "a", [record])
        (serialized,) = (one.numpy() for one in tf.data.TFRecordDataset(str(tmp_path / "a")))
        features = tf.train.Example.FromString(serialized).features.feature
        if write is records_io.write_lists:
            assert list(features["t2"].float_list.value) == record.images["t2"].astype(float).ravel().tolist()
            assert list(features["label"].int64_list.value) == record.label.ravel().tolist()
        elif write is records_io.write_ours:
            np.testing.assert_array_equal(case_record.decode(serialized).images["t2"], record.images["t2"])
        else:
            assert features["t2"].bytes_list.value[0] == record.images["t2"].tobytes()
