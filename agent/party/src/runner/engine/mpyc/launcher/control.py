"""The control socket to the runner: one JSON object a packet, at most one descriptor with it.

The socket is a Unix SOCK_SEQPACKET pair, so packets keep their bounds and their order. It does not
block (an event loop that watches it would see to that anyway); where waiting is right, we wait.
"""

import json
import os
import select
import socket
import sys

DESCRIPTOR = 3
MAX_PACKET = 64 * 1024

EXIT_NOT_READY = 70
EXIT_RUNNER_GONE = 71
EXIT_REFUSED = 72


def leave(status):
    """End the process at once, whatever the program is in the middle of."""
    for output in (sys.stdout, sys.stderr):
        try:
            output.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed or replaced by the program; leaving matters more
    os._exit(status)


class Control:
    """This end of the control socket. Without a runner at the other end there is nothing to do."""

    def __init__(self, descriptor=DESCRIPTOR):
        self._socket = socket.socket(fileno=descriptor)
        self._socket.setblocking(False)
        self._socket.set_inheritable(False)

    def fileno(self):
        return self._socket.fileno()

    def send(self, kind, **fields):
        """Send one packet; never raises for a runner that is gone."""
        packet = json.dumps({'type': kind, **fields}).encode()
        while True:
            try:
                select.select([], [self._socket], [])
                self._socket.send(packet)
                return
            except BlockingIOError:
                pass  # another thread was faster
            except OSError:
                leave(EXIT_RUNNER_GONE)

    def receive(self):
        """Return the next packet and its descriptor (or None); None if there is no packet yet."""
        try:
            packet, descriptors, flags, _ = socket.recv_fds(
                self._socket, MAX_PACKET, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except OSError:
            leave(EXIT_RUNNER_GONE)
        if not packet or flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
            leave(EXIT_RUNNER_GONE)
        return json.loads(packet), descriptors[0] if descriptors else None

    def expect(self, kind):
        """Wait for a packet of this kind."""
        select.select([self._socket], [], [])
        packet, _ = self.receive()
        if packet.get('type') != kind:
            raise ValueError(f'the runner sent {packet.get("type")!r} instead of {kind!r}')
        return packet
