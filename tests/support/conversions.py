"""Conversions of small folders, as the tests of records and conversion need them."""

import json
import pathlib

from semicml_tf import commandline
from tests.support import image_folders

FLAGS = ("--modalities=ct,pet", "--spacing_mm=3,4,4", "--workers=1")


def hecktor(root):
    """Four cases in the layout of HECKTOR 2022, one a partition."""
    image_folders.hecktor(root)
    write_split(root, image_folders.SPLIT)
    return pathlib.Path(root)


def write_split(root, split):
    path = pathlib.Path(root) / "split.json"
    path.write_text(json.dumps(split))
    return path


def convert(source, output, *flags):
    """Runs the command in this process; returns the output folder."""
    commandline.call("semicml_tf.convert", [f"--input={source}", f"--output={output}", *FLAGS, *flags])
    return pathlib.Path(output)
