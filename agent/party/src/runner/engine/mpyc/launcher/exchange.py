"""What MPyC exchanges with its peers: who sent a message, how it is read, who has left, when a cycle runs.

MPyC unpickles messages without knowing whose they are. Here each message keeps the index of its
sender, so that a refusal can name the peer. And MPyC waits for ever for a peer that has closed its
connection: here the runner is told as soon as a message is awaited that can no longer come. What a
peer sends ahead of what is awaited is bounded, and bytes that MPyC cannot take are the peer's fault.
"""

import asyncio
import resource
import struct
import sys
import time
import traceback
import types

import mpyc.asyncoro
import mpyc.runtime

import values
from awaited import Awaited, is_wanted, received
from control import EXIT_REFUSED, leave

MAX_WHAT = 200  # characters; a peer chooses them, and a packet is bounded
HEADER = struct.Struct('<qI')  # of each message: its program counter, and how many bytes follow
MESSAGE_OVERHEAD = 200  # bytes that Python takes for a message beside its own
RECHECK_INTERVAL = 0.25  # seconds between looks at whether what cannot come is still awaited


class TooMuch(Exception):
    """A peer sends more than this party has room for."""


class Buffers(dict):
    """MPyC's messages by program counter: those that came before they were awaited, and futures."""

    size = 0  # bytes of those that came, with what Python takes for them

    def __setitem__(self, pc, message):
        if type(message) is bytes:
            self.size += len(message) + MESSAGE_OVERHEAD
        super().__setitem__(pc, message)

    def pop(self, pc, *default):
        message = super().pop(pc, *default)
        if type(message) is bytes:
            self.size -= len(message) + MESSAGE_OVERHEAD
        return message


def max_unclaimed_bytes(parties):
    """How much a peer may send that is not awaited here, or not complete.

    All peers may take half of the program's memory, and one of them once more while MPyC copies its
    message.
    """
    memory, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return memory // (2 * parties) if memory != resource.RLIM_INFINITY else sys.maxsize


class Transport:
    """The transport of an exchanger, which is told when this party closes it."""

    def __init__(self, transport, exchanger):
        self._transport, self._exchanger = transport, exchanger
        self.write, self.writelines = transport.write, transport.writelines

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def close(self):
        self._exchanger.closes()
        self._transport.close()

    def abort(self):
        self._exchanger.closes()
        self._transport.abort()

    def write_eof(self):
        self._exchanger.closes()
        self._transport.write_eof()


class Exchanger(mpyc.asyncoro.MessageExchanger):
    """MPyC's connection to a peer, signing what it receives with the peer's index.

    A peer that closes it before all have passed the barrier of MPyC's `shutdown` has left. MPyC would
    forget such a peer, fail at the next message to it, and wait for ever for the next one from it.
    Here what is sent to it goes nowhere, and that a message from it is awaited is reported.
    """

    __slots__ = ('peer', 'left', 'closed', 'ended', 'reported')

    control = None  # set by install
    ending = False  # the barrier of this cycle is passed: connections close as they should
    max_unclaimed = sys.maxsize  # bytes; set by install

    def __init__(self, rt, peer_pid=None):
        super().__init__(rt, peer_pid)
        self.buffers = Buffers()
        self.peer = peer_pid  # of an accepted one, network.py knows it before the peer says it
        self.left = self.closed = False  # the connection is lost by the peer, closed by this party
        self.ended = False  # the peer sends no more
        self.reported = None  # the message that the runner knows to be awaited from a peer that has left

    def connection_made(self, transport):
        super().connection_made(Transport(transport, self))

    def send(self, pc, payload):
        if not (self.left or self.closed):
            super().send(pc, payload)

    def receive(self, pc):
        if pc in self.buffers:
            return received(super().receive(pc), self.peer_pid)
        future = self.buffers[pc] = Awaited(loop=self.runtime._loop)
        future.peer = self.peer_pid
        if self.left and self.reported is None:
            self._watch()
        return future

    def data_received(self, data):
        try:
            super().data_received(data)
            self._bound()
        except MemoryError:  # the program's own
            traceback.print_exc()
            leave(1)
        except TooMuch as error:
            _end(self.control, 'violated', self.peer, str(error))
        except AttributeError:  # MPyC takes what waits under a program counter for a future
            _end(self.control, 'violated', self.peer, 'it sends two messages for one program counter')
        except Exception as error:
            _end(self.control, 'violated', self.peer, f'its messages are not such as MPyC sends: {error!r}')

    def _bound(self):
        size = self.buffers.size
        if len(self.bytes) >= HEADER.size and self.peer_pid is not None:
            size += HEADER.unpack_from(self.bytes)[1]
        if size > self.max_unclaimed:
            raise TooMuch(f'it sends {size} bytes ahead of what is awaited, and the memory of the session '
                          f'has room for {self.max_unclaimed}')

    def eof_received(self):
        self.ended = True

    def connection_lost(self, error):
        # Without its end, and without an error of the connection, it is this party that closed it.
        self.left = not self.closed and (self.ended or isinstance(error, OSError))
        self.closed = not self.left
        if self.left and self.reported is None:
            self._watch()
        if self.ending and self.reported is None:
            self.forget()

    def closes(self):
        """This party closes the connection, unless the peer did so before."""
        self.closed = not self.left

    def close_connection(self):
        self.closes()
        if self.closed:
            super().close_connection()
        elif self.ending:
            self.forget()

    def forget(self):
        """Let MPyC know that this connection has ended."""
        self.runtime.unset_protocol(self.peer_pid)

    def _watch(self):
        """Report, and again and again while this party awaits what can no longer come: it may give that up."""
        if self.peer_pid is None:  # it awaits that the connection begins
            self.reported = self
            return self.control.send('awaiting', peer=self.peer)
        self.report()
        if self.reported is not None:
            self.runtime._loop.call_later(RECHECK_INTERVAL, self._watch)

    def report(self):
        """Say whether this party awaits what can no longer come, where that has changed."""
        if self.reported is not None and not is_wanted(self.reported):
            self.reported = None
            self.control.send('awaiting-no-more', peer=self.peer)
        if self.reported is None:
            awaited = (one for one in self.buffers.values() if isinstance(one, Awaited) and is_wanted(one))
            self.reported = next(awaited, None)
            if self.reported is not None:
                self.control.send('awaiting', peer=self.peer)


def install(mpc, control, allow_list):
    """Put this module between MPyC and its peers."""
    Exchanger.control = control
    Exchanger.max_unclaimed = max_unclaimed_bytes(len(mpc.parties))
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
        _end(control, 'refused', peer, str(refused))


def _end(control, kind, peer, what):
    what = what[:MAX_WHAT].encode(errors='backslashreplace')  # a lone surrogate is no text
    control.send(kind, peer=peer, what=what.decode())
    leave(EXIT_REFUSED)


def report_cycles(runtime, control):
    """Tell the runner of each start, connection and end of MPyC's runtime."""
    run, start, transfer, shutdown = runtime.run, runtime.start, runtime.transfer, runtime.shutdown

    def reported_run(mpc, awaitable):
        try:
            return run(mpc, awaitable)
        finally:  # what it awaited may be given up, and the program may not come back for long
            for party in mpc.parties:
                if getattr(party.protocol, 'reported', None) is not None:
                    party.protocol.report()

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

    runtime.run, runtime.start, runtime.shutdown = reported_run, reported_start, reported_shutdown
