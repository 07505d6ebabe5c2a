"""The flags that `semicml_tf.evaluate` had in earlier versions are answered with the new command line."""

import pytest

from semicml_tf import commandline
from semicml_tf.errors import UserError


@pytest.mark.parametrize(
    "arguments, moved",
    [
        ("--compare=a,b --names=A,B --output=out", "compare a b --names=A,B --output=out"),
        ("--compare a,b --partition validation", "compare a b --partition validation"),
        ("--run=a --relearning --truth=b", "diagnose a --diagnosis=relearning --truth=b"),
        ("a --truth b", "diagnose a --truth b --diagnosis=relearning"),
        ("--similarity --run a", "diagnose --diagnosis=similarity a"),
        ("--flagfile=x a --write_labels", "diagnose --flagfile=x a --diagnosis=labels"),
    ],
)
def test_the_remedy_is_the_new_command_line(arguments, moved):
    with pytest.raises(UserError, match="has moved to semicml_tf") as caught:
        commandline.call("semicml_tf.evaluate", arguments.split())
    assert caught.value.remedy == f"Run: python -m semicml_tf.{moved}"
    command, *rest = moved.split()
    if "flagfile" not in moved:
        commandline.parse(f"semicml_tf.{command}", rest)
