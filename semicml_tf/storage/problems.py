"""What went wrong with a store, as one line for the user: with the endpoint, never with a secret."""

from __future__ import annotations

import os

from semicml_tf.errors import UserError
from semicml_tf.storage import url as urls

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
# Recognised by name: the classes live in botocore, aiohttp and google's libraries, which may all be absent.
_NO_KEYS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "ProfileNotFound",
    "TokenRetrievalError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
    "CredentialRetrievalError",
    "UnauthenticatedError",
}
_UNREACHABLE = {
    "EndpointConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ConnectionClosedError",
    "HTTPClientError",
    "SSLError",
    "ProxyConnectionError",
    "ClientConnectorError",
    "FSTimeoutError",
    "ConnectionError",
    "ConnectionRefusedError",
    "TimeoutError",
    "UnavailableError",
    "AbortedError",
    "DeadlineExceededError",
}
_REFUSED = {"PermissionError", "PermissionDeniedError"}
_ABSENT = {"FileNotFoundError", "NotFoundError"}


def endpoint(url: str) -> str:
    """Where the store of `url` is looked for, e.g. ``http://127.0.0.1:9000``."""
    if urls.scheme(url) in ("s3", "s3a"):
        given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return urls.without_secrets(given) if given else "AWS (AWS_ENDPOINT_URL is not set)"
    return {"gs": "storage.googleapis.com"}.get(urls.scheme(url), urls.bucket(url))


def _names(error: BaseException) -> set[str]:
    """Names of the error's classes, and of those of what caused it."""
    names: set[str] = set()
    while error is not None:
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    return names


def _code(error: BaseException) -> str:
    """What the server called the error, e.g. ``SignatureDoesNotMatch``; its message could hold anything."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict) and response.get("Error", {}).get("Code"):
            return str(response["Error"]["Code"])
        error = error.__cause__ or error.__context__
    return ""


def explain(error: BaseException, url: str, *, doing: str, bucket_is_there: bool | None = None) -> UserError:
    """The user's view of `error`.

    Args:
        url: what was being read or written.
        doing: ``"reading"``, ``"writing"`` or ``"listing"``.
        bucket_is_there: whether the bucket of `url` is; None if that is not known.
    """
    names, code, where = _names(error), _code(error), endpoint(url)
    told = f" ({code})" if code and not code.isdigit() else ""
    if code == "NoSuchBucket" or (names & _ABSENT and bucket_is_there is False):
        return UserError(
            f"{doing} failed: there is no bucket '{urls.bucket(url)}' at {where}",
            path=url,
            remedy="Mend the URL, make the bucket, or set AWS_ENDPOINT_URL to the store that holds it",
        )
    if names & _NO_KEYS:
        return UserError(
            f"{doing} failed: no valid credentials were found for {where}",
            path=url,
            remedy=f"Set {_KEYS}; FSSPEC_S3_ANON=true reads a public bucket without any",
        )
    if names & _REFUSED:
        return UserError(
            f"{doing} failed: {where} refused access{told}",
            path=url,
            remedy=f"Check {_KEYS}, and what these may do in bucket '{urls.bucket(url)}'",
        )
    if names & _ABSENT:
        return UserError(f"{doing} failed: nothing is there, at {where}", path=url, remedy="Check the URL")
    if names & _UNREACHABLE:
        return UserError(
            f"{doing} failed: {where} cannot be reached",
            path=url,
            remedy="Check the network, and AWS_ENDPOINT_URL if the store is not Amazon's",
        )
    if "ValueError" in names:
        return UserError(
            f"{doing} failed: {where} is no valid address of a store, or this no valid name in it",
            path=url,
            remedy="Write AWS_ENDPOINT_URL as http://HOST:PORT or https://HOST, and check the URL",
        )
    return UserError(
        f"{doing} failed at {where}: {code or type(error).__name__}",
        path=url,
        remedy="Check the URL and the store's settings",
    )
