"""Outputs at each moment of a kill: whole, or absent, or the former one; the next command finishes and clears up."""

import pathlib
import shutil

import nibabel
import pytest
import tensorflow as tf

from semicml_tf import commandline
from semicml_tf.exporting import publish
from semicml_tf.inference.config import SegmentConfig
from semicml_tf.inference.segment_files import segment_files
from semicml_tf.inference.volume import Segmenter
from semicml_tf.runs.run_folder import Run
from semicml_tf.system import atomic_files, locks
from tests.support import evaluation_data, threshold_model
from tests.support.simulated_kill import Killed, killed_at


def _write_folder(output: pathlib.Path, text: str) -> None:
    with locks.writing(output), atomic_files.new_directory(output, overwrite=True) as staged:
        for name in ("a", "b"):
            atomic_files.write_text(staged / name, text)


def _write_file(output: pathlib.Path, text: str) -> None:
    with locks.writing(output):
        atomic_files.write_text(output, text)


def _texts(output: pathlib.Path) -> list[str]:
    paths = [output / "a", output / "b"] if output.is_dir() else [output]
    return [path.read_text() for path in paths]


@pytest.mark.parametrize("write", [_write_folder, _write_file])
@pytest.mark.parametrize("former", [False, True])
def test_a_kill_at_any_change_leaves_an_output_whole_or_absent(write, former, tmp_path, monkeypatch):
    for number in range(100):
        output = tmp_path / str(number) / ("n" * 60)
        if former:
            write(output, "old")
        try:
            with killed_at(number, monkeypatch):
                write(output, "new")
        except Killed:
            if output.exists():
                assert set(_texts(output)) in ({"old"}, {"new"})
        else:
            break
        write(output, "last")
        assert set(_texts(output)) == {"last"}
        assert [path.name for path in output.parent.iterdir()] == [output.name]
    assert 3 < number < 99


def test_a_phantom_killed_at_any_change_is_made_by_the_same_command(tmp_path, monkeypatch):
    words = ["--cases=1", "--labelled=1", "--validation=0", "--test=0", "--phantom_size_mm=96,96,64"]
    words += ["--phantom_spacing_mm=16,16,16"]

    def make(output):
        commandline.call("semicml_tf.phantom", [f"--output={output}", *words, "--overwrite"])

    def held(output):
        return {path.relative_to(output): path.read_bytes() for path in output.rglob("*") if path.is_file()}

    make(tmp_path / "whole")
    whole = held(tmp_path / "whole")
    for number in range(0, 200, 3):
        output = tmp_path / str(number) / "out"
        try:
            with killed_at(number, monkeypatch):
                make(output)
        except Killed:
            assert not output.exists() or held(output) == whole
        else:
            break
        make(output)
        assert held(output) == whole
        assert [path.name for path in output.parent.iterdir()] == ["out"]
    assert 5 < number < 199


_MODEL_FILES = ["fingerprint.pb", "saved_model.pb", "variables/variables.index"]


def _save_model(module, folder, **options):
    for name in _MODEL_FILES:
        path = pathlib.Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"model")


def _hidden(folder):
    return [path.name for path in folder.rglob(".*")]


def test_an_export_killed_at_any_change_leaves_whole_versions_and_the_next_one_clears_up(tmp_path, monkeypatch):
    """TensorFlow's own writing is replaced by three small files; it writes into a hidden folder."""
    info = evaluation_data.write_dataset(tmp_path / "data", {"validation": []})
    evaluation_data.write_run(tmp_path / "run", info)
    networks = {name: threshold_model.network(name) for name in info.modalities}
    monkeypatch.setattr(Run, "network", lambda self, modality: networks[modality])
    monkeypatch.setattr(tf.saved_model, "save", _save_model)
    monkeypatch.setattr(publish.signatures, "functions", lambda *_: {})
    monkeypatch.setattr(publish, "max_difference", lambda *_: 0.0)
    # The threshold's network is none of the catalogue: it has no dropout.
    monkeypatch.setattr("semicml_tf.exporting.members._with_dropout", lambda network, run: None)

    def export(output):
        commandline.call("semicml_tf.export", [str(tmp_path / "run"), f"--output={output}", "--keep=1"])

    def versions(output):
        """The files of each version that a server sees, by modality and number."""
        folders = [path for name in networks for path in (output / name).iterdir() if path.name.isdigit()]
        return {
            path.relative_to(output): sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())
            for path in folders
        }

    for _ in range(2):
        export(tmp_path / "models")
    (files,) = {tuple(each) for each in versions(tmp_path / "models").values()}
    for number in range(0, 200, 2):
        output = tmp_path / str(number)
        shutil.copytree(tmp_path / "models", output)
        try:
            with killed_at(number, monkeypatch):
                export(output)
        except Killed:
            assert {tuple(each) for each in versions(output).values()} == {files}
        else:
            break
        export(output)
        assert _hidden(output) == [] and set(map(tuple, versions(output).values())) == {files}
        assert len(versions(output)) == 4 and set(_MODEL_FILES) < set(files)
    assert 20 < number < 199


class _ThresholdSegmenter(Segmenter):
    def __init__(self):
        super().__init__(threshold_model.manifest("ct"))
        self.slices = threshold_model.predict("ct")

    def origins(self):
        return []


def test_predictions_killed_at_any_change_are_finished_by_the_same_command(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for seed, name in enumerate("ab"):
        image = nibabel.Nifti1Image(threshold_model.volume("ct", seed=seed), threshold_model.oblique())
        nibabel.save(image, tmp_path / "in" / f"{name}.nii.gz")

    def segment(output):
        config = SegmentConfig(input=tmp_path / "in", output=output, entropy=f"{output}_entropy")
        segment_files({"ct": [_ThresholdSegmenter()]}, config)

    def arrays(output):
        paths = [*output.glob("*.nii.gz"), *output.parent.glob("out_entropy/*.nii.gz")]
        return {str(path.relative_to(output.parent)): nibabel.load(path).get_fdata().tobytes() for path in paths}

    segment(tmp_path / "out")
    whole = arrays(tmp_path / "out")
    for number in range(100):
        output = tmp_path / str(number) / "out"
        try:
            with killed_at(number, monkeypatch):
                segment(output)
        except Killed:
            assert arrays(output).items() <= whole.items()
        else:
            break
        segment(output)
        assert arrays(output) == whole and _hidden(output.parent) == []
    assert 10 < number < 99
