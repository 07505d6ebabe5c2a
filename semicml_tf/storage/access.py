"""How a dataset is reached: a folder here, a URL through the cache, or a URL streamed."""

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
    """The content of a remote dataset's `dataset.json`, its hashes and names of shards checked.

    Raises:
        UserError: it cannot be read, or is none.
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
        access: one of `ACCESS`.

    Returns:
        The folder for its copies, and whether it is streamed and needs none.

    Raises:
        UserError: it is to be streamed, and cannot be.
    """
    streamed = access == "stream" or (access == "auto" and streaming.can_stream(urls.scheme(url)))
    if streamed:
        streaming.prepare(url)
    return cache.folder_of(data_hash, cache_dir), streamed
