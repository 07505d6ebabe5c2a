"""URLs of files and folders: recognising, checking, joining."""

from __future__ import annotations

import re
import urllib.parse

from semicml_tf.errors import UserError

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")


def is_remote(path: object) -> bool:
    """Whether `path` is a URL, `scheme://...`, and not a path of the local file system."""
    return isinstance(path, str) and bool(_SCHEME.match(path))


def scheme(url: str) -> str:
    """The scheme of a URL, e.g. ``s3``."""
    return _SCHEME.match(url).group(1)


def bucket(url: str) -> str:
    """The bucket of a URL: the part between ``scheme://`` and the next slash."""
    return url.split("://", 1)[1].partition("/")[0]


def folder(text: str) -> str:
    """Checks a folder's URL, and removes slashes at its end.

    Raises:
        UserError: the URL has no bucket; it has a user name, a password, ``?`` or ``#``; or parts of its path are
            empty, ``.`` or ``..``.
    """
    parts = urllib.parse.urlsplit(text)
    if "@" in parts.netloc:
        raise UserError(
            "expected a URL without a user's name or password",
            path=without_secrets(text),
            remedy="Set them in environment variables, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    if "?" in text or "#" in text:
        raise UserError("expected a folder's URL, without ? or #", path=without_secrets(text), remedy="Leave them out")
    url = text.rstrip("/")
    if not is_remote(f"{url}/") or not bucket(f"{url}/"):
        raise UserError("expected SCHEME://BUCKET/PATH", path=text, remedy="Name the bucket")
    if any(part in ("", ".", "..") for part in url.split("://", 1)[1].split("/")):
        raise UserError("expected a URL without empty parts, '.' or '..'", path=text)
    return url


def join(url: str, name: str) -> str:
    """The URL of the file or folder `name` in the folder `url`."""
    return f"{url}/{name}"


def without_secrets(text: str) -> str:
    """The URL `text` without user, password, query and fragment."""
    return re.sub(r"://[^/@]*@", "://", text).partition("?")[0].partition("#")[0]
