"""Where a step's unfinished work waits for the same step to be run again.

TFX gives a component new folders each time that it runs, and removes those of one that failed. A step that can go on
works in a folder named after what it works on, and hands over a copy.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import shutil

from semicml_tf.system.atomic_files import unwritable


def of(root: str | os.PathLike, step: str, *inputs: str) -> pathlib.Path:
    """The step's folder for these inputs: the same ones, the same folder.

    Args:
        root: of all such folders.
        step: name of the step.
        inputs: what decides its result: hashes, settings.
    """
    text = "\n".join([step, *inputs])
    return pathlib.Path(root) / f"{step}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def hand_over(finished: pathlib.Path, target: pathlib.Path) -> None:
    """Copies finished work to `target`, which is there and empty; by hard links where both lie on one file system.

    The work stays: a kill between here and the word that the step is done must not cost it.

    Raises:
        UserError: `target` cannot be written to.
    """
    try:
        shutil.copytree(finished, target, copy_function=_link, dirs_exist_ok=True)
    except OSError as error:
        raise unwritable(target, error) from error


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
