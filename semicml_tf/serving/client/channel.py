"""A connection to a server of volumes."""

from __future__ import annotations


def open_channel(address: str, credentials=None, max_answer_bytes: int = -1):
    """A `grpc.Channel` to ``host:port``; not encrypted where `credentials` (`grpc.ChannelCredentials`) is None.

    Args:
        max_answer_bytes: a larger answer is refused before it is read; -1 is gRPC's own limit of 2 GiB.
    """
    import grpc

    # gRPC's default of 4 MiB is less than one batch of slices.
    options = [("grpc.max_receive_message_length", max_answer_bytes), ("grpc.max_send_message_length", -1)]
    if credentials is None:
        return grpc.insecure_channel(address, options)
    return grpc.secure_channel(address, credentials, options)
