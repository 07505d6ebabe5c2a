"""A study's flagfile as the flags of one command."""

import pytest

from pipelines import study_flags
from semicml_tf import commandline
from semicml_tf.errors import UserError

STUDY = "--cases=7\n--modalities=ct,pet\n--epochs=3,4\n--width=2\n--prel_keep_labelled=false\n"


def test_flags_of_returns_the_commands_own_flags_by_value(tmp_path):
    study = tmp_path / "study.flags"
    study.write_text(STUDY)
    text = study_flags.flags_of("semicml_tf.train", str(study), "--method=prel", "--epochs=4")
    assert study_flags.split(text) == ["--epochs=4", "--method=prel", "--noprel_keep_labelled", "--width=2"]
    # The command reads the same values from them. Another value gives another text.
    values, _ = commandline.parse("semicml_tf.train", study_flags.split(text))
    assert (values.epochs, values.width, values.prel_keep_labelled) == (["4"], 2, False)
    study.write_text(STUDY.replace("width=2", "width=3"))
    assert study_flags.flags_of("semicml_tf.train", str(study), "--method=prel", "--epochs=4") != text
    with pytest.raises(UserError, match="unknown flag --widht"):
        study_flags.flags_of("semicml_tf.train", str(study), "--widht=3")
