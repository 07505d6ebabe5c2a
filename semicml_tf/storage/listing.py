"""What `dataset.json` tells storage: the data's hash, and each shard with its SHA-256.

The typed view of the file is `records.dataset`, which reads through this room; here no more of it is known.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from semicml_tf.errors import UserError
from semicml_tf.system import json_files

INDEX = "dataset.json"
# What conversion writes beside the shards. Nothing else is ever uploaded: a folder may hold a key to pseudonyms.
BESIDE = ("split.json", "verify.json", "fingerprint.json", "plan.json", "cards.json")
BELOW = ("preview/",)
_SHARD = re.compile(r"[a-z]+-\d{5}-of-\d{5}\.tfrecord")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Listing:
    """The part of `dataset.json` that says which files make a dataset.

    Attributes:
        data_hash: hex.
        shard_sha256: hex, by file name.
    """

    data_hash: str
    shard_sha256: dict[str, str]


def is_ours(name: str) -> bool:
    """Whether a dataset's folder may hold a file of this (relative) name."""
    return name == INDEX or name in BESIDE or is_shard(name) or name.startswith(BELOW)


def is_shard(name: str) -> bool:
    """Whether a shard may be called so."""
    return bool(_SHARD.fullmatch(name))


def parse(text: bytes, *, path: str, remedy: str) -> Listing:
    """Reads the content of `dataset.json`.

    Names and hashes become parts of paths and are checked: the file may come from anywhere.

    Raises:
        UserError: it is no JSON, or a field is missing or malformed. `path` is named in it.
    """
    found = json_files.parse(text, Listing, what=f"the {INDEX} of a converted dataset", path=path, remedy=remedy)
    wrong = _first_wrong([found.data_hash, *found.shard_sha256.values()], _HASH) or _first_wrong(
        found.shard_sha256, _SHARD
    )
    if wrong is not None:
        raise UserError(f"expected hashes and names of shards, got '{wrong}'", path=path, remedy=remedy)
    return found


def _first_wrong(texts: Iterable, pattern: re.Pattern) -> str | None:
    return next((str(text)[:80] for text in texts if not (isinstance(text, str) and pattern.fullmatch(text))), None)
