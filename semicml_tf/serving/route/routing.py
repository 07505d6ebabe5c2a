"""Chooses the served models for a patient: those of the patient's modalities that answer."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from semicml_tf.artefact.manifest import Manifest
from semicml_tf.errors import UserError
from semicml_tf.files.layouts import dicom
from semicml_tf.inference.inputs import split_names
from semicml_tf.serving.client.remote_failure import RemoteFailure, VersionGone
from semicml_tf.serving.client.remote_model import RemoteModel

# The model or its server is missing, or failed. Any other refusal is an error that the user must correct.
ABSENT = ("NOT_FOUND", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL")
_MOST_REPLACEMENTS = 3  # of models while one patient is segmented
_EXAMPLE = "For example ct=ct.nii.gz,pet=pet.nii.gz, or the folder of a DICOM study"


def images_of(text: str, modality: str | None = None) -> dict[str, pathlib.Path]:
    """The patient's images by modality, in the order of their names; the headers give those of a DICOM study.

    Args:
        text: ``ct=PATH,pet=PATH``, or one path.
        modality: of one path that is no DICOM folder.

    Raises:
        UserError: an image is missing, is named twice, or has no known modality.
    """
    found: dict[str, pathlib.Path] = {}
    for name, path in ((name, pathlib.Path(path)) for name, path in split_names(text)):
        if not path.exists():
            raise UserError("there is no such file or folder", path=path, remedy="Check --input")
        names = [name or modality]
        if names == [None]:
            names = list(dicom.modalities(path)) if path.is_dir() else []
        if not names:
            raise UserError("the modality of this image is unknown", path=path, remedy=_EXAMPLE)
        for one in names:
            if one in found:
                raise UserError(f"two images of '{one}', this and {found[one]}", path=path, remedy=_EXAMPLE)
            found[one] = path
    return found


def addresses_of(text: str, modalities: Mapping[str, Any]) -> dict[str, str]:
    """Where the model of each modality is served.

    Args:
        text: ``HOST:PORT`` of all, or ``ct=HOST:PORT,pet=HOST:PORT``; others than the patient's may be named.

    Raises:
        UserError: a modality has none.
    """
    pairs = split_names(text)
    if pairs[0][0] is None and len(pairs) == 1:
        return dict.fromkeys(modalities, pairs[0][1])
    named = {name: address for name, address in pairs if name}
    for name in modalities:
        if name not in named:
            raise UserError(
                f"expected an address for '{name}', got '{text}'",
                remedy=f"For example --address=127.0.0.1:8500, or --address={name}=127.0.0.1:8500",
            )
    return {name: named[name] for name in modalities}


def _classes(manifest: Manifest) -> dict[str, Any]:
    """What a model segments: the threshold of a plain region, else the classes with their thresholds."""
    if manifest.labels.is_plain:
        return {"threshold": manifest.threshold}
    return {"labels": manifest.labels.to_json(), "thresholds": dict(manifest.thresholds)}


class Router:
    """The models that answer for one patient; close it, or use it in ``with``.

    A model is asked for under its modality's name.

    Args:
        addresses: by modality of the patient, in the order of preference: the first that answers gives the grid.
        strict: an absent model is an error; otherwise the others do without it.
        tell: called with a line for each model that is skipped or replaced.
        settings: of `RemoteModel`.

    Attributes:
        models: those that answer, by modality.
        left_out: the reason of each that does not.

    Raises:
        RemoteFailure: no model answers, or not all do and it is strict.
        UserError: a model is not one of the modality that it is named after.
    """

    def __init__(self, addresses: Mapping[str, str], *, strict: bool = False, tell=lambda line: None, **settings):
        self.models: dict[str, RemoteModel] = {}
        self.left_out: dict[str, str] = {}
        self._strict, self._tell, self._replacements = strict, tell, 0
        try:
            for name, address in addresses.items():
                self._open(name, address, settings)
            if not self.models:
                raise RemoteFailure(
                    f"no model answers: {'; '.join(f'{name}: {why}' for name, why in self.left_out.items())}",
                    remedy="Start a server with a model of one of these modalities, or correct --address",
                )
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Router:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections."""
        for model in self.models.values():
            model.close()

    def _open(self, name: str, address: str, settings: Mapping[str, Any]) -> None:
        try:
            model = RemoteModel(address, name, **settings)
        except RemoteFailure as error:
            self._leave_out(name, error)
            return
        self.models[name] = model
        if model.manifest.modality != name:
            raise UserError(
                f"the model '{name}' at {address} is one of modality '{model.manifest.modality}'",
                remedy="Serve each model under the name of its modality",
            )

    def _leave_out(self, name: str, error: RemoteFailure) -> None:
        if self._strict or error.status not in ABSENT:
            raise error
        self.left_out[name] = error.problem
        self._tell(f"{name} is left out: {error.problem}")

    def go_on_after(self, error: RemoteFailure) -> None:
        """Does without the model that failed, or takes the version that replaced it; what was begun is begun again.

        Raises:
            RemoteFailure: the error itself, if no other model is left, or if the user must correct something.
        """
        name = error.model
        if name not in self.models:
            raise error
        if isinstance(error, VersionGone) and self._replacements < _MOST_REPLACEMENTS:
            self._replacements += 1
            self._tell(f"{error.problem}: starting again with the new version")
            try:
                self.models[name].refresh()
                return
            except RemoteFailure as after:
                error = after
        if len(self.models) == 1:
            raise error
        self._leave_out(name, error)
        self.models.pop(name).close()

    @property
    def how(self) -> str:
        """What is done, in a few words."""
        names = [f"{name} version {model.version}" for name, model in self.models.items()]
        if len(names) == 1:
            return f"{names[0]} alone"
        return f"mean of the probabilities of {' and '.join(names)}, on the grid of {next(iter(self.models))}"

    @property
    def why(self) -> str:
        """The reason for it."""
        has = [*self.models, *self.left_out]
        reason = f"the patient has {' and '.join(has)}" + (" only" if len(has) == 1 else "")
        if not self.left_out:
            return reason + (", and a model of each answers" if len(has) > 1 else ", and its model answers")
        return reason + "".join(f"; {name} is left out: {why}" for name, why in self.left_out.items())

    def record(self, images: Mapping[str, pathlib.Path]) -> dict[str, Any]:
        """For programs: what was chosen and why, and which models answered."""
        modalities: dict[str, Any] = {}
        for name, path in images.items():
            modalities[name] = {"input": str(path), "used": name in self.models}
            if name in self.left_out:
                modalities[name]["left_out"] = self.left_out[name]
            if name in self.models:
                model = self.models[name]
                modalities[name]["model"] = {
                    "address": model.address,
                    "name": model.name,
                    "version": model.version,
                    "run_hash": model.manifest.run_hash,
                    "data_hash": model.manifest.data_hash,
                    "validation_dice": model.manifest.validation_dice,
                    **_classes(model.manifest),
                }
        used = list(self.models)
        return {
            "used": used,
            "fused": len(used) > 1,
            "grid_of": used[0],
            "how": self.how,
            "why": self.why,
            "modalities": modalities,
        }
