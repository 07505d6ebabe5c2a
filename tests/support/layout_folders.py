"""Empty files and folders in the shape of a layout: what layouts look at is names."""

import pathlib


def touch(*paths):
    for path in paths:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).touch()


def images(case):
    """Path of each image of a case, by modality."""
    return {name: source.path for name, source in case.images.items()}


def check_present(case, *, with_label):
    """Raises the first of what `case` lacks."""
    for _, error in case.absent(with_label=with_label):
        raise error
