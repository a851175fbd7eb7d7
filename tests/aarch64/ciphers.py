"""Which cipher a TLS 1.3 client offers first, and which one the server chooses (RFC 8446, 4.1 and B.4),
seen by somebody between them."""

import select
import socket

from machine import HOST

AES, CHACHA = "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"
NAMES = {0x1301: AES, 0x1303: CHACHA}
PORT = 9999
PATIENCE = 120


def listen() -> socket.socket:
    """Where the client connects, instead of to the hub."""
    listener = socket.create_server((HOST, PORT))
    listener.settimeout(PATIENCE)
    return listener


def seen_between(listener: socket.socket, server: str) -> tuple[str, str]:
    """Passes one connection on to a hub; the cipher that was offered first, and the one chosen."""
    with listener.accept()[0] as client, socket.create_connection((server, 4747), PATIENCE) as hub:
        client_said, hub_said = pass_on(client, hub)
    offered = after_session_id(client_said)[2:]
    return name(offered), name(after_session_id(hub_said))


def pass_on(client: socket.socket, hub: socket.socket) -> tuple[bytes, bytes]:
    """Until one of them ends the connection; what either has said."""
    said = {client: b"", hub: b""}
    while ready := select.select([client, hub], [], [], PATIENCE)[0]:
        for end in ready:
            piece = end.recv(1 << 16)
            if not piece:
                return said[client], said[hub]
            said[end] += piece
            (hub if end is client else client).sendall(piece)
    raise TimeoutError("neither end of the connection says anything")


def after_session_id(hello: bytes) -> bytes:
    """The rest of a hello: before it come the head of a record, that of a message, the version, 32
    random bytes, and the id."""
    start = 5 + 4 + 2 + 32
    return hello[start + 1 + hello[start]:]


def name(suite: bytes) -> str:
    number = int.from_bytes(suite[:2], "big")
    return NAMES.get(number, hex(number))
