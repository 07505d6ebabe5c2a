"""A dataset's folder to a store: shards first, `dataset.json` last, so that a reader never sees half of one."""

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
_AGAIN = "Run the same command again: what has arrived is not sent again"


def local_output(url: str, cache_dir: str | None = None) -> pathlib.Path:
    """Where to convert what is to be uploaded to `url`: always the same folder, so that a restart finds its work.

    Raises:
        UserError: `url` is malformed.
    """
    url = urls.folder(url)
    name = f"{url.rpartition('/')[2]}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
    return cache.root(cache_dir) / "outgoing" / name


def check_target(url: str, *, overwrite: bool) -> None:
    """Refuses, before hours of work, a target that `upload_dataset` would refuse, or that cannot be reached.

    Raises:
        UserError: it holds a dataset and `overwrite` is not set, or something else; no such bucket; no access.
    """
    url = urls.folder(url)
    there = store_for(url).sizes(url)
    _check_kind(url, there)
    if listing.INDEX in there and not overwrite:
        raise _full(url)


def upload_dataset(folder: str | os.PathLike, url: str, *, overwrite: bool = False) -> list[str]:
    """Copies the dataset in `folder` to `url`.

    Shards that are there already with the same SHA-256 are not sent again. An upload that was cut off leaves no
    `dataset.json`, and goes on when called again. After it, every file's size (and hash, where the store notes it)
    is compared with the store's.

    Args:
        folder: with a `dataset.json`; only what a conversion writes is taken from it.
        url: e.g. ``s3://bucket/path``.
        overwrite: replace another dataset that is there.

    Returns:
        Names of the files that were sent.

    Raises:
        UserError: the folder holds no sound dataset; the target holds another one, or something else; the store
            cannot be reached or refuses.
    """
    folder, url = pathlib.Path(folder), urls.folder(url)
    index = _read_index(folder)
    ours = listing.parse(index, path=str(folder / listing.INDEX), remedy="Convert the data again")
    digests = _digests(folder, ours)
    store = store_for(url)
    there = store.sizes(url)
    _check_kind(url, there)
    if listing.INDEX in there:
        if _data_hash(store, url) != ours.data_hash:
            if not overwrite:
                raise _full(url)
            # First of all: from here on there is no dataset, rather than a mixture of two.
            store.delete(urls.join(url, listing.INDEX))
    elif not set(there) <= set(digests) and not overwrite:
        raise _full(url)

    shards = {name: digest for name, digest in digests.items() if name in ours.shard_sha256}
    beside = {name: digest for name, digest in digests.items() if name not in (*shards, listing.INDEX)}
    sent = []
    for group in (shards, beside, {listing.INDEX: digests[listing.INDEX]}):
        if listing.INDEX in group:
            for name in sorted(name for name in there if listing.is_ours(name) and name not in digests):
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
        return listing.parse(store.read(urls.join(url, listing.INDEX)), path=url, remedy="Mend it").data_hash
    except UserError:  # no dataset of ours, or a damaged one
        return None


def _digests(folder: pathlib.Path, ours: listing.Listing) -> dict[str, str]:
    """SHA-256 of every file to send, by name relative to the folder."""
    names = [name for name in (*listing.BESIDE, listing.INDEX) if (folder / name).is_file()]
    for below in listing.BELOW:
        names += [str(path.relative_to(folder)) for path in (folder / below).rglob("*") if path.is_file()]
    found = {}
    for name in (*ours.shard_sha256, *sorted(names)):
        try:
            found[name] = sha256(folder / name)
        except OSError as error:
            raise UserError(
                f"this file cannot be read ({error.strerror})", path=folder / name, remedy="Convert the data again"
            ) from error
        if found[name] != ours.shard_sha256.get(name, found[name]):
            raise UserError(
                "this shard's bytes are not those that conversion wrote",
                path=folder / name,
                remedy="Convert the data again",
            )
    return found


def _check_kind(url: str, there: Mapping[str, int]) -> None:
    strange = sorted(name for name in there if not listing.is_ours(name))
    if strange and listing.INDEX not in there:
        raise UserError(
            f"this is no dataset and not empty: it holds '{strange[0]}'", path=url, remedy="Choose another output"
        )


def _full(url: str) -> UserError:
    return UserError("another dataset is there", path=url, remedy="Choose another output, or pass --overwrite")


def _send(store: Store, folder: pathlib.Path, url: str, digests: Mapping[str, str]) -> list[str]:
    """Sends those files that are not there with the same hash; returns their names."""

    def send(name: str) -> bool:
        target, size = urls.join(url, name), (folder / name).stat().st_size
        if store.stat(target) == Stat(size, digests[name]):
            return False
        for _ in range(_ATTEMPTS):
            store.upload(folder / name, target, digests[name])
            if store.stat(target) in (Stat(size, digests[name]), Stat(size, None)):
                return True
        raise UserError(f"it did not arrive whole in {_ATTEMPTS} attempts", path=target, remedy=_AGAIN)

    return [name for name, sent in in_threads(send, list(digests), "uploading") if sent]


def _check_arrived(store: Store, folder: pathlib.Path, url: str, digests: Mapping[str, str]) -> None:
    there = store.sizes(url)
    for name in digests:
        if there.get(name) != (folder / name).stat().st_size:
            raise UserError(
                f"expected {(folder / name).stat().st_size} bytes to be there, got {there.get(name, 'no such file')}",
                path=urls.join(url, name),
                remedy=_AGAIN,
            )
