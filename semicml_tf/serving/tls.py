"""Certificates from files, for the server and its clients."""

from __future__ import annotations

import dataclasses
import pathlib

from semicml_tf.configuration import option
from semicml_tf.errors import UserError

_GROUP = "Encryption"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ServerTls:
    """Options of a server's encryption."""

    tls_certificate: str | None = option(
        None, help="The server's certificate chain (PEM). Calls are then encrypted.", path=True, group=_GROUP
    )
    tls_key: str | None = option(None, help="The private key of --tls_certificate (PEM).", path=True, group=_GROUP)
    tls_client_ca: str | None = option(
        None,
        help="Certificates (PEM) of the authorities that sign clients' certificates. Other clients are refused (mutual "
        "TLS).",
        path=True,
        group=_GROUP,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClientTls:
    """Options of a client's encryption."""

    tls_ca: str | None = option(
        None,
        help="Certificates (PEM) of the authority that signed the server's certificate. Calls are then encrypted.",
        path=True,
        group=_GROUP,
    )
    tls_client_certificate: str | None = option(
        None, help="The client's certificate chain (PEM), for mutual TLS.", path=True, group=_GROUP
    )
    tls_client_key: str | None = option(
        None, help="The private key of --tls_client_certificate (PEM).", path=True, group=_GROUP
    )


def _read(path: str, what: str) -> bytes:
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"expected {what} in PEM form, but it cannot be read ({error.strerror})", path=path) from error


def server_credentials(config: ServerTls):
    """`grpc.ServerCredentials` of the options; None where none is given.

    Raises:
        UserError: a file is missing, or was not given.
    """
    import grpc

    if not any((config.tls_certificate, config.tls_key, config.tls_client_ca)):
        return None
    if not (config.tls_certificate and config.tls_key):
        raise UserError("expected both --tls_certificate and --tls_key", remedy="Give both, or neither")
    pair = _read(config.tls_key, "a private key"), _read(config.tls_certificate, "a certificate")
    ca = _read(config.tls_client_ca, "certificates") if config.tls_client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=ca is not None)


def channel_credentials(config: ClientTls):
    """`grpc.ChannelCredentials` of the options; None where none is given.

    Raises:
        UserError: a file is missing, or was not given.
    """
    import grpc

    if not any((config.tls_ca, config.tls_client_certificate, config.tls_client_key)):
        return None
    if not config.tls_ca or bool(config.tls_client_certificate) != bool(config.tls_client_key):
        raise UserError(
            "expected --tls_ca, and --tls_client_certificate and --tls_client_key both or neither",
            remedy="Give --tls_ca the certificate of the authority that signed the server's",
        )
    certificate = config.tls_client_certificate and _read(config.tls_client_certificate, "a certificate")
    key = config.tls_client_key and _read(config.tls_client_key, "a private key")
    return grpc.ssl_channel_credentials(_read(config.tls_ca, "certificates"), key or None, certificate or None)
