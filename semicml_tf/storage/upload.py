"""Uploads a dataset's folder: shards first, `dataset.json` last, so that readers never see an incomplete dataset."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Mapping

from semicml_tf.errors import UserError
from semicml_tf.storage import cache, listing
from semicml_tf.storage import url as urls
from semicml_tf.storage.store import Stat, Store, in_threads, store_for
from semicml_tf.system.digest import sha256

_ATTEMPTS = 3
_AGAIN = "Run the same command again: complete files are not sent again"


def local_output(url: str, cache_dir: str | None = None) -> pathlib.Path:
    """The local folder for a conversion to `url`. It depends on the URL alone, so that a restart resumes.

    Raises:
        UserError: `url` is malformed.
    """
    url = urls.folder(url)
    name = f"{url.rpartition('/')[2]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return cache.root(cache_dir) / "outgoing" / name


def check_target(url: str, *, overwrite: bool) -> None:
    """Checks before the conversion that `upload_dataset` can write to `url`.

    Raises:
        UserError: the target has a dataset and `overwrite` is not set; it has other files; the bucket does not exist;
            access is refused.
    """
    url = urls.folder(url)
    existing = store_for(url).sizes(url)
    _check_kind(url, existing)
    if listing.INDEX in existing and not overwrite:
        raise _full(url)


def upload_dataset(folder: str | os.PathLike, url: str, *, overwrite: bool = False) -> list[str]:
    """Copies the dataset in `folder` to `url`.

    Shards that exist in the store with the same SHA-256 are not sent again. An interrupted upload leaves no
    `dataset.json`, and resumes when called again. Finally, the sizes of all files in the store are checked, and their
    hashes if the store has them.

    Args:
        folder: folder of the dataset. Only files that a conversion writes are uploaded.
        url: e.g. ``s3://bucket/path``.
        overwrite: whether to replace another dataset at `url`.

    Returns:
        Names of the files that were sent.

    Raises:
        UserError: the folder has no dataset, or a damaged one; the target has another dataset or other files; the store
            cannot be reached or refuses access.
    """
    folder, url = pathlib.Path(folder), urls.folder(url)
    index = _read_index(folder)
    ours = listing.parse(index, path=str(folder / listing.INDEX), remedy="Convert the data again")
    digests = _digests(folder, ours)
    store = store_for(url)
    existing = store.sizes(url)
    _check_kind(url, existing)
    if listing.INDEX in existing:
        if _data_hash(store, url) != ours.data_hash:
            if not overwrite:
                raise _full(url)
            # Deleted first, so that no reader sees a mixture of two datasets.
            store.delete(urls.join(url, listing.INDEX))
    elif not set(existing) <= set(digests) and not overwrite:
        raise _full(url)

    shards = {name: digest for name, digest in digests.items() if name in ours.shard_sha256}
    beside = {name: digest for name, digest in digests.items() if name not in (*shards, listing.INDEX)}
    sent = []
    for group in (shards, beside, {listing.INDEX: digests[listing.INDEX]}):
        if listing.INDEX in group:
            for name in sorted(name for name in existing if listing.is_ours(name) and name not in digests):
                store.delete(urls.join(url, name))
        sent += _send(store, folder, url, group)
    _check_arrived(store, folder, url, digests)
    return sent


def _read_index(folder: pathlib.Path) -> bytes:
    try:
        return (folder / listing.INDEX).read_bytes()
    except OSError as error:
        raise UserError(
            f"expected a converted dataset, but there is no readable {listing.INDEX} ({error.strerror})",
            path=folder,
            remedy="Make it with python -m semicml_tf.convert",
        ) from error


def _data_hash(store: Store, url: str) -> str | None:
    try:
        return listing.parse(store.read(urls.join(url, listing.INDEX)), path=url, remedy="").data_hash
    except UserError:  # no dataset of this package, or a damaged one
        return None


def _digests(folder: pathlib.Path, ours: listing.Listing) -> dict[str, str]:
    """SHA-256 of every file to send, by name relative to the folder."""
    names = [name for name in (*listing.BESIDE, listing.INDEX) if (folder / name).is_file()]
    for below in listing.BELOW:
        names += [str(path.relative_to(folder)) for path in (folder / below).rglob("*") if path.is_file()]
    digests = {}
    for name in (*ours.shard_sha256, *sorted(names)):
        try:
            digests[name] = sha256(folder / name)
        except OSError as error:
            raise UserError(
                f"this file cannot be read ({error.strerror})", path=folder / name, remedy="Convert the data again"
            ) from error
        if digests[name] != ours.shard_sha256.get(name, digests[name]):
            raise UserError(
                "this shard's bytes are not those that conversion wrote",
                path=folder / name,
                remedy="Convert the data again",
            )
    return digests


def _check_kind(url: str, existing: Mapping[str, int]) -> None:
    others = sorted(name for name in existing if not listing.is_ours(name))
    if others and listing.INDEX not in existing:
        raise UserError(
            f"this is no dataset and not empty: it contains '{others[0]}'", path=url, remedy="Choose another output"
        )


def _full(url: str) -> UserError:
    return UserError("another dataset is there", path=url, remedy="Choose another output, or pass --overwrite")


def _send(store: Store, folder: pathlib.Path, url: str, digests: Mapping[str, str]) -> list[str]:
    """Sends the files that the store does not have with the same hash; returns their names."""

    def send(name: str) -> bool:
        target, size = urls.join(url, name), (folder / name).stat().st_size
        if store.stat(target) == Stat(size, digests[name]):
            return False
        for _ in range(_ATTEMPTS):
            store.upload(folder / name, target, digests[name])
            if store.stat(target) in (Stat(size, digests[name]), Stat(size, None)):
                return True
        raise UserError(f"{_ATTEMPTS} attempts to upload it failed", path=target, remedy=_AGAIN)

    return [name for name, sent in in_threads(send, list(digests), "uploading") if sent]


def _check_arrived(store: Store, folder: pathlib.Path, url: str, digests: Mapping[str, str]) -> None:
    sizes = store.sizes(url)
    for name in digests:
        if sizes.get(name) != (folder / name).stat().st_size:
            raise UserError(
                f"expected {(folder / name).stat().st_size} bytes after the upload, "
                f"got {sizes.get(name, 'no such file')}",
                path=urls.join(url, name),
                remedy=_AGAIN,
            )
