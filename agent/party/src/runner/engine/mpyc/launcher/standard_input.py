"""The program's standard input, which says when somebody has to answer.

A program that reads where nothing is waits for a person, or for whatever else writes to it. It does so
as it would anywhere; the runner is told meanwhile, and the other parties learn what they wait for.
"""

import io
import os
import select
import sys

PAUSE_MS = 200  # a read that takes less is not worth telling


class Watched(io.FileIO):
    """A file that reports a read which has to wait, and its end."""

    def __init__(self, descriptor, control):
        super().__init__(descriptor, closefd=False)
        self._control = control

    def readinto(self, buffer):
        return self._reported(super().readinto, buffer)

    def read(self, size=-1):
        if size is None or size < 0:
            return self.readall()
        return self._reported(super().read, size)

    def readall(self):
        return io.RawIOBase.readall(self)  # piece by piece, by read()

    def _reported(self, read, argument):
        if not self._has_to_wait():
            return read(argument)
        self._control.send('asking')
        try:
            return read(argument)
        finally:
            self._control.send('answered')

    def _has_to_wait(self):
        descriptor = self.fileno()
        if not os.get_blocking(descriptor):
            return False
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)  # its end, or that it is closed, is told as well
        return not poll.poll(PAUSE_MS)


def watch(control):
    """Replace standard input, if there is one, by the same that reports to this control socket."""
    plain = sys.stdin
    if plain is None:
        return
    raw = Watched(plain.fileno(), control)
    raw.name = plain.name  # as Python itself calls it
    watched = io.TextIOWrapper(io.BufferedReader(raw), plain.encoding, plain.errors, newline='\n',
                               line_buffering=plain.line_buffering, write_through=plain.write_through)
    watched.mode = plain.mode
    sys.stdin = sys.__stdin__ = watched
