"""What MPyC exchanges with its peers: who sent a message, how it is read, who has left, when a cycle runs.

MPyC unpickles messages without knowing whose they are. Here each message keeps the index of its
sender, so that a refusal can name the peer. And MPyC waits for ever for a peer that has closed its
connection: here the runner is told as soon as a message is awaited that can no longer come.
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
    """MPyC's connection to a peer, signing what it receives with the peer's index.

    A peer that closes it before all have passed the barrier of MPyC's `shutdown` has left. MPyC would
    forget such a peer, fail at the next message to it, and wait for ever for the next one from it.
    Here what is sent to it goes nowhere, and that a message from it is awaited is reported.
    """

    __slots__ = ('peer', 'left', 'closed')

    control = None  # set by install
    ending = False  # the barrier of this cycle is passed: connections close as they should

    def __init__(self, rt, peer_pid=None):
        super().__init__(rt, peer_pid)
        self.peer = peer_pid  # of an accepted one, network.py knows it before the peer says it
        self.left = self.closed = False  # by the peer, by this party

    def send(self, pc, payload):
        if not (self.left or self.closed):
            super().send(pc, payload)

    def receive(self, pc):
        if pc in self.buffers:
            return _received(super().receive(pc), self.peer_pid)
        future = self.buffers[pc] = Awaited(loop=self.runtime._loop)
        future.peer = self.peer_pid
        if self.left:
            self._report()
        return future

    def connection_lost(self, _):
        self.left = not self.closed
        pending = self.peer_pid is None or any(isinstance(one, Awaited) for one in self.buffers.values())
        if self.left and pending:
            self._report()
        elif self.ending:
            self.forget()

    def close_connection(self):
        self.closed = not self.left
        if self.closed:
            super().close_connection()
        elif self.ending:
            self.forget()

    def forget(self):
        """Let MPyC know that this connection has ended."""
        self.runtime.unset_protocol(self.peer_pid)

    def _report(self):
        """Say that this party awaits what can no longer come."""
        self.control.send('awaiting', peer=self.peer)


def install(mpc, control, allow_list):
    """Put this module between MPyC and its peers."""
    Exchanger.control = control
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
    start, transfer, shutdown = runtime.start, runtime.transfer, runtime.shutdown

    async def reported_start(mpc):
        Exchanger.ending = False
        control.send('started')
        await start(mpc)
        control.send('connected')

    async def reported_shutdown(mpc):
        exchangers = [party.protocol for party in mpc.parties if party.pid != mpc.pid]

        async def barrier(own):
            await transfer(mpc, own)
            Exchanger.ending = True
            # Those with a lower index close, and some have done so before all came here.
            for exchanger in exchangers[:mpc.pid]:
                if exchanger.left:
                    exchanger.forget()

        mpc.transfer = barrier
        try:
            await shutdown(mpc)
        finally:
            del mpc.transfer
        control.send('stopped', elapsed_s=round(time.time() - mpc.start_time, 6),
                     bytes_sent=sum(exchanger.nbytes_sent for exchanger in exchangers))

    runtime.start, runtime.shutdown = reported_start, reported_shutdown
