"""Flagfiles of a plan, read by the commands."""

from semicml_tf import commandline
from semicml_tf.conversion.planning.flagfiles import PATCHES, SLICES, flagfiles
from semicml_tf.conversion.planning.patches import plan_patches
from semicml_tf.conversion.planning.plan import plan
from tests.conversion.planning.test_plan import STS, settings


def _read(command, path, *arguments):
    return commandline.config(f"semicml_tf.{command}", [f"--flagfile={path}", "--output=o", *arguments])


def test_training_and_conversion_read_what_was_planned(tmp_path):
    planned = plan(STS, settings("ct", "pet"))
    patches = plan_patches(STS, planned.settings)
    for name, text in flagfiles(planned, patches).items():
        (tmp_path / name).write_text(text)
    assert _read("train", tmp_path / SLICES, "--dataset=d").window == planned.window
    again = _read("convert", tmp_path / SLICES, "--input=i", "--modalities=ct,pet")
    assert again.settings().spacing_mm == planned.settings.spacing_mm and again.window == planned.window
    assert again.settings().normalisation == planned.settings.normalisation
    config = _read("train", tmp_path / PATCHES, "--dataset=d")
    assert (config.network, config.window) == ("unet3d", patches.window)
    assert (config.labelled_batch, config.unlabelled_batch) == (2, 2)
    spec = config.run_settings.spec_for(planned.settings.labels, planned.settings.spacing_mm)
    assert spec.strides == patches.strides


def test_without_patches_there_is_one_flagfile():
    assert list(flagfiles(plan(STS, settings("ct", "pet")), None)) == [SLICES]
