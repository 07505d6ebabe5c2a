"""Certificates from files, for the server and its clients."""

from __future__ import annotations

import pathlib

from absl import flags

from semicml_tf.errors import UserError


def _read(path: str, what: str) -> bytes:
    try:
        return pathlib.Path(path).expanduser().read_bytes()
    except OSError as error:
        raise UserError(f"expected {what} in PEM form, but it cannot be read ({error.strerror})", path=path) from error


def define_server_flags(values: flags.FlagValues) -> None:
    """``--tls_certificate``, ``--tls_key``, ``--tls_client_ca``."""
    flags.DEFINE_string(
        "tls_certificate", None, "The server's certificate chain (PEM): calls are encrypted.", flag_values=values
    )
    flags.DEFINE_string("tls_key", None, "Its private key (PEM).", flag_values=values)
    flags.DEFINE_string(
        "tls_client_ca",
        None,
        "Certificates (PEM) of who signs clients' certificates: others are turned away (mutual TLS).",
        flag_values=values,
    )


def server_credentials(values: flags.FlagValues):
    """`grpc.ServerCredentials` of the flags; None where none is given.

    Raises:
        UserError: a file lacks.
    """
    import grpc

    if not any((values.tls_certificate, values.tls_key, values.tls_client_ca)):
        return None
    if not (values.tls_certificate and values.tls_key):
        raise UserError("expected both --tls_certificate and --tls_key", remedy="Give both, or neither")
    pair = _read(values.tls_key, "a private key"), _read(values.tls_certificate, "a certificate")
    ca = _read(values.tls_client_ca, "certificates") if values.tls_client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=ca is not None)


def define_client_flags(values: flags.FlagValues) -> None:
    """``--tls_ca``, ``--tls_client_certificate``, ``--tls_client_key``."""
    flags.DEFINE_string(
        "tls_ca", None, "Certificates (PEM) of who signed the server's: calls are encrypted.", flag_values=values
    )
    flags.DEFINE_string(
        "tls_client_certificate", None, "The client's certificate chain (PEM), for mutual TLS.", flag_values=values
    )
    flags.DEFINE_string("tls_client_key", None, "Its private key (PEM).", flag_values=values)


def channel_credentials(values: flags.FlagValues):
    """`grpc.ChannelCredentials` of the flags; None where none is given.

    Raises:
        UserError: a file lacks.
    """
    import grpc

    if not any((values.tls_ca, values.tls_client_certificate, values.tls_client_key)):
        return None
    if not values.tls_ca or bool(values.tls_client_certificate) != bool(values.tls_client_key):
        raise UserError(
            "expected --tls_ca, and --tls_client_certificate and --tls_client_key both or neither",
            remedy="Give --tls_ca the certificate of who signed the server's",
        )
    mine = values.tls_client_certificate and _read(values.tls_client_certificate, "a certificate")
    key = values.tls_client_key and _read(values.tls_client_key, "a private key")
    return grpc.ssl_channel_credentials(_read(values.tls_ca, "certificates"), key or None, mine or None)
