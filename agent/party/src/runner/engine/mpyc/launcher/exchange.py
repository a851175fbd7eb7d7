"""What MPyC exchanges with its peers: who sent a message, how it is read, when a cycle runs.

MPyC unpickles messages without knowing whose they are. Here each message keeps the index of its
sender, so that a refusal can name the peer.
"""

import asyncio
import time
import types

import mpyc.asyncoro
import mpyc.runtime

import values
from control import EXIT_REFUSED, leave

MAX_WHAT = 200  # characters; a peer chooses them, and a packet is bounded


class Received(bytes):
    """A message that knows which peer sent it."""

    peer: int


def _received(payload, peer):
    message = Received(payload)
    message.peer = peer
    return message


class Awaited(asyncio.Future):
    """A message still to come from this peer."""

    peer: int

    def set_result(self, payload):
        super().set_result(_received(payload, self.peer))


class Exchanger(mpyc.asyncoro.MessageExchanger):
    """MPyC's connection to a peer, signing what it receives with the peer's index."""

    __slots__ = ()

    def receive(self, pc):
        if pc in self.buffers:
            return _received(super().receive(pc), self.peer_pid)
        future = self.buffers[pc] = Awaited(loop=self.runtime._loop)
        future.peer = self.peer_pid
        return future


def install(mpc, control, allow_list):
    """Put this module between MPyC and its peers."""
    mpyc.asyncoro.MessageExchanger = Exchanger
    if allow_list:
        mpyc.runtime.pickle = types.SimpleNamespace(
            dumps=lambda value: _or_refuse(control, mpc.pid, values.dumps, value),
            loads=lambda data: _or_refuse(control, getattr(data, 'peer', mpc.pid), values.loads, data))
    report_cycles(type(mpc), control)


def _or_refuse(control, peer, convert, argument):
    """Convert, or tell the runner who is at fault and end: MPyC itself would hang."""
    try:
        return convert(argument)
    except values.Refused as refused:
        what = str(refused)[:MAX_WHAT].encode(errors='backslashreplace')  # a lone surrogate is no text
        control.send('refused', peer=peer, what=what.decode())
        leave(EXIT_REFUSED)


def report_cycles(runtime, control):
    """Tell the runner of each start, connection and end of MPyC's runtime."""
    start, shutdown = runtime.start, runtime.shutdown

    async def reported_start(mpc):
        control.send('started')
        await start(mpc)
        control.send('connected')

    async def reported_shutdown(mpc):
        exchangers = [party.protocol for party in mpc.parties if party.pid != mpc.pid]
        await shutdown(mpc)
        control.send('stopped', elapsed_s=round(time.time() - mpc.start_time, 6),
                     bytes_sent=sum(exchanger.nbytes_sent for exchanger in exchangers))

    runtime.start, runtime.shutdown = reported_start, reported_shutdown
