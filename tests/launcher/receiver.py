"""A receiver of messages that is measured: each message is read in a process of its own."""

import json
import os
import resource
import types

import messages  # noqa: F401: first, since it knows where the launcher is
import awaited
import exchange
import values

MAX_MESSAGE_BYTES = 1 << 20
MAX_MEMORY_BYTES = 256 << 20
MAX_SECONDS = 2  # of processor time
STOP_SECONDS = 20  # what takes longer is killed
STOP_MEMORY_BYTES = 2 << 30
PEER = 7


class TooCostly(AssertionError):
    """A message that takes more of a receiver than it may."""


class Control:
    """The launcher's end of the control socket, as far as a refusal needs it."""

    def __init__(self, descriptor):
        self.descriptor = descriptor

    def send(self, kind, **fields):
        os.write(self.descriptor, json.dumps({'type': kind, **fields}).encode())


def receive(data):
    """Read a message as the launcher does. Return what it was refused for, or None, with seconds and bytes.

    Raises TooCostly where the receiver takes more than it may, dies, or names anybody but the sender.
    """
    assert len(data) <= MAX_MESSAGE_BYTES, len(data)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.close(reading)
            _read(data, writing)
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, 'rb') as file:
        said = [json.loads(line) for line in file.read().replace(b'}{', b'}\n{').splitlines()]
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    seconds = usage.ru_utime + usage.ru_stime
    grown = (usage.ru_maxrss - _resident()) << 10
    refused = said[-1]['what'] if said and said[-1]['type'] == 'refused' else None
    told = f'{len(data)} bytes {data[:60]!r}…: exit {code}, {seconds:.2f} s, {grown >> 20} MiB, said {said}'
    if code not in (0, exchange.EXIT_REFUSED) or (code == exchange.EXIT_REFUSED) != (refused is not None):
        raise TooCostly(f'the receiver does not end as it should: {told}')
    if refused is not None and said[-1]['peer'] != PEER:
        raise TooCostly(f'somebody else is named: {told}')
    if seconds > MAX_SECONDS or grown > MAX_MEMORY_BYTES:
        raise TooCostly(told)
    return types.SimpleNamespace(refused=refused, seconds=seconds, bytes=grown)


def _resident():
    """What this process has in memory, in KiB: a copy of it begins with that."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * (resource.getpagesize() >> 10)


def _read(data, descriptor):
    """In the process that is measured: read, and give back what was read as well."""
    with open('/proc/self/statm') as file:
        size = int(file.read().split()[0]) * resource.getpagesize()
    for limit, bound in ((resource.RLIMIT_AS, size + STOP_MEMORY_BYTES), (resource.RLIMIT_CPU, STOP_SECONDS)):
        resource.setrlimit(limit, (bound, bound))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    message = awaited.received(data, PEER)
    value = exchange._or_refuse(Control(descriptor), message.peer, values.loads, message)
    del value
    os._exit(0)
