"""Which ciphers a TLS 1.3 client offers first, and which one a server chooses (RFC 8446, B.4)."""

import re
import socket
import subprocess

from machine import HOST

AES, CHACHA = "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"
NAMES = {0x1301: AES, 0x1303: CHACHA}
AES_FIRST, CHACHA_FIRST = [AES, CHACHA], [CHACHA, AES]
PORT = 9999
PATIENCE = 60


def offered() -> list[str]:
    """The ciphers in the first hello that reaches the port."""
    with socket.create_server((HOST, PORT)) as server:
        server.settimeout(PATIENCE)
        with server.accept()[0] as client, client.makefile("rb") as stream:
            client.settimeout(PATIENCE)
            # A record's head, a message's head, the version, 32 random bytes; then the session's id.
            hello = stream.read(5 + 4 + 2 + 32)
            stream.read(stream.read(1)[0])
            assert hello[0] == 22 and hello[5] == 1, "this is no ClientHello"
            length = int.from_bytes(stream.read(2), "big")
            numbers = [int.from_bytes(stream.read(2), "big") for _ in range(length // 2)]
    return [NAMES[number] for number in numbers if number in NAMES]


def chosen(address: str) -> str | None:
    """What a hub there chooses when it is offered AES first."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{address}:4747", "-tls1_3", "-alpn", "mpyc-enrol/1",
         "-ciphersuites", f"{AES}:{CHACHA}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE,
    )
    found = re.search(r"Cipher is (\w+)", done.stdout)
    return found and found[1]
