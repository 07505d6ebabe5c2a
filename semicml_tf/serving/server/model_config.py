"""Which models are served from where: TensorFlow Serving's `models.config`, or a folder of exported models."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

from semicml_tf.artefact.versions import versions
from semicml_tf.errors import UserError

# Where the container mounts what --models is on this machine; see compose.yaml.
MOUNT = pathlib.PurePosixPath("/models")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """One model.

    Attributes:
        name: as requests name it.
        base_path: folder of its numbered versions.
        latest: how many of the highest versions are served; 0 means all, None those of `specific`.
        specific: versions served where `latest` is None.
        labels: version numbers by label, e.g. ``stable``.
    """

    name: str
    base_path: pathlib.Path
    latest: int | None = 1
    specific: tuple[int, ...] = ()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def wanted(self, present: Iterable[int]) -> list[int]:
        """The versions to serve of those that are there, highest first."""
        ordered = sorted(present, reverse=True)
        if self.latest is None:
            return [number for number in ordered if number in self.specific]
        return ordered[: self.latest or None]


def of_folder(folder: str | pathlib.Path) -> list[ModelConfig]:
    """Every subfolder that holds a numbered version, by its name; the highest version of each.

    Raises:
        UserError: there is no such folder.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise UserError(
            "expected a folder of exported models, but there is none",
            path=folder,
            remedy="Export a run there with python -m semicml_tf.export",
        )
    found = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    return [ModelConfig(entry.name, entry) for entry in found if _may_hold_a_model(entry)]


def _may_hold_a_model(folder: pathlib.Path) -> bool:
    try:
        return bool(versions(folder))
    except OSError:  # a volume's own lost+found, say; who watches the model's folder tells that it cannot be read
        return True


def of_file(path: str | pathlib.Path, models: str | pathlib.Path) -> list[ModelConfig]:
    """Reads a `ModelServerConfig` in text form.

    Args:
        path: of the file.
        models: what a base path below `MOUNT` is below on this machine.

    Raises:
        UserError: it cannot be read, or says what this server does not do.
    """
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    remedy = "See serving/models.config for one that works"
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8")
        parsed = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        reason = str(getattr(error, "strerror", None) or error).splitlines()[0]
        raise UserError(f"expected a ModelServerConfig in text form ({reason})", path=path, remedy=remedy) from error
    found = [_one(entry, pathlib.Path(models), path) for entry in parsed.model_config_list.config]
    names = [one.name for one in found]
    if not names or len(set(names)) < len(names):
        raise UserError(f"expected models of different names, got {names or 'none'}", path=path, remedy=remedy)
    return found


def _one(entry, models: pathlib.Path, path) -> ModelConfig:
    base = pathlib.PurePosixPath(entry.base_path)
    if not entry.name or not base.is_absolute():
        raise UserError(
            f"expected a name and an absolute base_path for every model, got '{entry.name}', '{entry.base_path}'",
            path=path,
            remedy=f"Write base_path: '{MOUNT / (entry.name or 'ct')}'",
        )
    if entry.model_platform not in ("", "tensorflow"):
        raise UserError(
            f"model '{entry.name}': expected model_platform 'tensorflow', got '{entry.model_platform}'",
            path=path,
            remedy="Only SavedModels are served",
        )
    latest, specific = 1, ()
    policy = entry.model_version_policy
    which = policy.WhichOneof("policy_choice")
    if which == "all":
        latest = 0
    elif which == "specific":
        latest, specific = None, tuple(policy.specific.versions)
    elif which == "latest":
        latest = policy.latest.num_versions or 1
    where = models / base.relative_to(MOUNT) if base.is_relative_to(MOUNT) else pathlib.Path(base)
    return ModelConfig(entry.name, where, latest, specific, dict(entry.version_labels))
