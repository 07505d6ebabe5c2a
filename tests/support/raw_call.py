"""A gRPC call made of bare bytes on a socket, to send them at a pace, in a form or to an end that no library would."""

from __future__ import annotations

import socket
import struct

_DATA, _HEADERS, _SETTINGS, _GOAWAY = 0, 1, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_INITIAL_WINDOW_SIZE = 4


def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
    """An HTTP/2 frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def header(name: str, value: str) -> bytes:
    """A header field that is in no table (RFC 7541, 6.2.2)."""
    return b"".join([b"\0", bytes([len(name)]), name.encode(), bytes([len(value)]), value.encode()])


class RawCall:
    """One unary call on a connection of its own.

    Args:
        address: ``host:port``.
        message: serialized request.
        takes_answers: whether the client has room for any byte of an answer.
    """

    def __init__(self, address: str, message: bytes, *, takes_answers: bool = True, claimed: int | None = None):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=60)
        window = b"" if takes_answers else struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0)
        fields = {
            **{":method": "POST", ":scheme": "http", ":path": "/tensorflow.serving.PredictionService/Predict"},
            **{":authority": address, "content-type": "application/grpc", "te": "trailers"},
        }
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(_SETTINGS, 0, 0, window))
        block = b"".join(header(name, value) for name, value in fields.items())
        self.socket.sendall(frame(_HEADERS, _END_HEADERS, 1, block))
        # A message is preceded by whether it is compressed, and its length.
        self._left = struct.pack(">BI", 0, len(message) if claimed is None else claimed) + message

    def send(self, count: int | None = None) -> bool:
        """Sends so many of the bytes left, or all of them; returns whether any are left."""
        part, self._left = self._left[:count], self._left[count:] if count else b""
        self.socket.sendall(frame(_DATA, 0 if self._left else _END_STREAM, 1, part))
        return bool(self._left)

    def answer(self) -> bytes | None:
        """The answer's message; None where the call or the connection ended without one."""
        found, stream = b"", self.socket.makefile("rb")
        while len(head := stream.read(9)) == 9:
            size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
            body = stream.read(size)
            if kind == _SETTINGS and not flags & _ACK:
                self.socket.sendall(frame(_SETTINGS, _ACK, 0))
            elif kind == _DATA:
                found += body
            if (kind in (_DATA, _HEADERS) and flags & _END_STREAM) or kind == 3:  # RST_STREAM
                break
        return found[5:] or None

    def reset(self) -> None:
        """Breaks the connection off as a process that is killed does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
