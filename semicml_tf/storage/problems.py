"""Turns exceptions of object stores into errors for the user, which name the endpoint but no secret."""

from __future__ import annotations

import os

from semicml_tf.errors import UserError
from semicml_tf.storage import url as urls

_KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
# Recognised by name, because the libraries of these classes (botocore, aiohttp, Google's) may not be installed.
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
    """The endpoint of the store of `url`, for messages, e.g. ``http://127.0.0.1:9000``."""
    if urls.scheme(url) in ("s3", "s3a"):
        given = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return urls.without_secrets(given) if given else "AWS (AWS_ENDPOINT_URL is not set)"
    return {"gs": "storage.googleapis.com"}.get(urls.scheme(url), urls.bucket(url))


def _names(error: BaseException) -> set[str]:
    """Names of the classes of the error and of its causes."""
    names: set[str] = set()
    while error is not None:
        names |= {kind.__name__ for kind in type(error).__mro__}
        error = error.__cause__ or error.__context__
    return names


def _code(error: BaseException) -> str:
    """The server's code of the error, e.g. ``SignatureDoesNotMatch``. Its message may contain secrets."""
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, dict) and response.get("Error", {}).get("Code"):
            return str(response["Error"]["Code"])
        error = error.__cause__ or error.__context__
    return ""


def explain(error: BaseException, url: str, *, doing: str, bucket_is_there: bool | None = None) -> UserError:
    """The error for the user.

    Args:
        error: exception of a library.
        url: URL that was read or written.
        doing: ``"reading"``, ``"writing"`` or ``"listing"``.
        bucket_is_there: whether the bucket of `url` exists; None if unknown.
    """
    names, code, where = _names(error), _code(error), endpoint(url)
    shown_code = f" ({code})" if code and not code.isdigit() else ""
    if code == "NoSuchBucket" or (names & _ABSENT and bucket_is_there is False):
        return UserError(
            f"{doing} failed: there is no bucket '{urls.bucket(url)}' at {where}",
            path=url,
            remedy="Correct the URL, create the bucket, or set AWS_ENDPOINT_URL to the store that has it",
        )
    if names & _NO_KEYS:
        return UserError(
            f"{doing} failed: no valid credentials were found for {where}",
            path=url,
            remedy=f"Set {_KEYS}; FSSPEC_S3_ANON=true reads a public bucket without credentials",
        )
    if names & _REFUSED:
        return UserError(
            f"{doing} failed: {where} refused access{shown_code}",
            path=url,
            remedy=f"Check {_KEYS}, and their permissions in bucket '{urls.bucket(url)}'",
        )
    if names & _ABSENT:
        return UserError(f"{doing} failed: there is no such file at {where}", path=url, remedy="Check the URL")
    if names & _UNREACHABLE:
        return UserError(
            f"{doing} failed: {where} cannot be reached",
            path=url,
            remedy="Check the network, and AWS_ENDPOINT_URL if the store is not Amazon's",
        )
    if "ValueError" in names:
        return UserError(
            f"{doing} failed: {where} is no valid address of a store, or the URL is no valid name in it",
            path=url,
            remedy="Write AWS_ENDPOINT_URL as http://HOST:PORT or https://HOST, and check the URL",
        )
    return UserError(
        f"{doing} failed at {where}: {code or type(error).__name__}",
        path=url,
        remedy="Check the URL and the store's settings",
    )
