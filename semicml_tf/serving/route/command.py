"""Segments one patient with the served models of the modalities that the patient has: ct, pet, or both fused.

  python -m semicml_tf.serving.route --address=127.0.0.1:8500 ct=ct.nii.gz,pet=pet.nii.gz mask.nii.gz
  python -m semicml_tf.serving.route --address=127.0.0.1:8500 ct=ct.nii.gz mask.nii.gz
  python -m semicml_tf.serving.route --address=127.0.0.1:8500 STUDY mask.nii.gz       # a folder of DICOM

Any modality that a model is named after may be given. With several registered modalities, the mean of the
probabilities becomes the mask, on the grid of the first one. A model that the server does not have, or that does not
answer, is skipped with a message; with --strict it is an error. A JSON file beside the mask lists the choice and its
reason, with models, versions and hashes. For research only, not for clinical use.
"""

from __future__ import annotations

from semicml_tf import commandline
from semicml_tf.serving.route.config import RouteConfig

CONFIG = RouteConfig
POSITIONAL = ("input", "output")


def main(config: RouteConfig) -> None:
    """Prints the choice and the outcome."""
    from semicml_tf.serving.route.job import route

    commandline.show(route(config))
