"""The fields of `dataset.json` that storage needs: the data's hash, and the SHA-256 of each shard.

`records.dataset` reads the other fields.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable

from semicml_tf.errors import UserError
from semicml_tf.system import json_files

INDEX = "dataset.json"
# Files that conversion writes beside the shards. No others are uploaded: a folder may contain a pseudonym map.
BESIDE = ("split.json", "verify.json", "fingerprint.json", "plan.json", "plan.flags", "plan3d.flags", "cards.json")
BELOW = ("preview/",)
_SHARD = re.compile(r"[a-z]+-\d{5}-of-\d{5}\.tfrecord")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Listing:
    """Part of `dataset.json`.

    Attributes:
        data_hash: hash of the dataset, in hex.
        shard_sha256: hash of each shard by file name, in hex.
    """

    data_hash: str
    shard_sha256: dict[str, str]


def is_ours(name: str) -> bool:
    """Whether a dataset's folder may contain a file of this (relative) name."""
    return name == INDEX or name in BESIDE or is_shard(name) or name.startswith(BELOW)


def is_shard(name: str) -> bool:
    """Whether this is a valid name of a shard."""
    return bool(_SHARD.fullmatch(name))


def parse(text: bytes, *, path: str, remedy: str) -> Listing:
    """Reads the content of `dataset.json`.

    Names and hashes are checked, because they become parts of paths and the file is not trusted.

    Raises:
        UserError: the text is no JSON, or a field is missing or malformed. The error names `path`.
    """
    listing = json_files.parse(text, Listing, what=f"the {INDEX} of a converted dataset", path=path, remedy=remedy)
    wrong = _first_wrong([listing.data_hash, *listing.shard_sha256.values()], _HASH) or _first_wrong(
        listing.shard_sha256, _SHARD
    )
    if wrong is not None:
        raise UserError(f"expected hashes and names of shards, got '{wrong}'", path=path, remedy=remedy)
    return listing


def _first_wrong(texts: Iterable, pattern: re.Pattern) -> str | None:
    return next((str(text)[:80] for text in texts if not (isinstance(text, str) and pattern.fullmatch(text))), None)
