"""How a dataset at a URL is read: through the cache, or streamed."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.configuration import option
from semicml_tf.errors import UserError
from semicml_tf.storage import cache, listing, streaming
from semicml_tf.storage import url as urls
from semicml_tf.storage.store import store_for

ACCESS = ("auto", "cache", "stream")
_REMEDY = "Upload it with python -m semicml_tf.convert --output=URL"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetAccess:
    """How a dataset at a URL is read. Base of the configurations of commands that read shards."""

    dataset_access: str = option(
        "auto",
        help="How a dataset at a URL is read. 'cache' copies the needed shards once to a local folder and checks their "
        "hashes. 'stream' reads them from the URL each time (gs://: any TensorFlow; s3://: tensorflow-io). 'auto' "
        "streams if that is possible here.",
        choices=ACCESS,
        group="Data at a URL",
    )
    cache_dir: str | None = option(
        None,
        help=f"Folder of the copied shards. The default is ${cache.VARIABLE}, else ~/.cache/semicml_tf.",
        path=True,
        group="Data at a URL",
    )


def read_index(url: str) -> bytes:
    """The content of a remote dataset's `dataset.json`, after a check of its hashes and names of shards.

    Raises:
        UserError: the file cannot be read or is malformed.
    """
    path = urls.join(url, listing.INDEX)
    store = store_for(url)
    if store.stat(path) is None:
        raise UserError("expected a converted dataset, but there is no such file", path=path, remedy=_REMEDY)
    text = store.read(path)
    listing.parse(text, path=path, remedy=_REMEDY)
    return text


def prepare(url: str, access: str, data_hash: str, cache_dir: str | None) -> tuple[pathlib.Path, bool]:
    """Decides how the dataset at `url` is read.

    Args:
        url: URL of the dataset's folder.
        access: one of `ACCESS`.
        data_hash: hash of the dataset, which names the folder of its copies.
        cache_dir: see `cache.root`.

    Returns:
        The folder of its local copies, and whether it is streamed instead.

    Raises:
        UserError: `access` is ``stream``, and the URL cannot be streamed.
    """
    streamed = access == "stream" or (access == "auto" and streaming.can_stream(urls.scheme(url)))
    if streamed:
        streaming.prepare(url)
    return cache.folder_of(data_hash, cache_dir), streamed
