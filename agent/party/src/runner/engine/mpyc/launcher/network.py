"""The network as the program sees it: the streams to its peers, and nothing else.

MPyC opens its connections by `create_connection` and `create_server` of the event loop. Both are
replaced, on asyncio's loops and on uvloop's: MPyC's own calls are answered with descriptors that
come from the runner over the control socket, anybody else's with an OSError.
"""

import asyncio
import re
import socket

from control import EXIT_RUNNER_GONE, leave

NO_NETWORK = 'this session has no network: a program reaches its peers through mpc and nothing else'


def host(peer):
    """The made-up host name under which MPyC knows a party."""
    return f'party-{peer}'


class Network:
    """Turns MPyC's connections into requests to the runner."""

    def __init__(self, control):
        self._control = control
        self._loop = None
        self._dialled = {}  # peer → future of its descriptor
        self._accepted = []  # descriptors and their peers that wait for MPyC to listen
        self._server = None
        self._tasks = set()  # the loop itself holds tasks only weakly

    def take_over(self, loop):
        """Serve MPyC on this loop, and refuse everybody else on every loop."""
        self._loop = loop
        loop.add_reader(self._control.fileno(), self._on_packets)

        async def create_connection(running, factory, host=None, port=None, **_):
            if running is not self._loop or not _is_mpyc(factory):
                raise OSError(NO_NETWORK)
            return await self._dial(factory, host)

        async def create_server(running, factory, host=None, port=None, **_):
            if running is not self._loop or not _is_mpyc(factory):
                raise OSError(NO_NETWORK)
            return self._listen(factory)

        for kind in {asyncio.BaseEventLoop, type(loop)}:
            kind.create_connection = create_connection
            kind.create_server = create_server

    async def _dial(self, factory, host):
        peer = int(re.fullmatch(r'party-(\d+)', host)[1])
        future = self._dialled[peer] = self._loop.create_future()
        self._control.send('dial', peer=peer)
        return await self._connect(factory, await future)

    def _listen(self, factory):
        self._server = Server(self, factory)
        self._control.send('listen')
        waiting, self._accepted = self._accepted, []
        for descriptor, peer in waiting:
            self._accept(descriptor, peer)
        return self._server

    def unlisten(self, server):
        """Stop accepting for this server."""
        if server is self._server:
            self._server = None
            self._control.send('unlisten')

    def _accept(self, descriptor, peer):
        if self._server is None:
            self._accepted.append((descriptor, peer))
            return
        listening = self._server.factory

        def factory():
            exchanger = listening()
            exchanger.peer = peer
            return exchanger

        task = self._loop.create_task(self._connect(factory, descriptor))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, factory, descriptor):
        stream = socket.socket(fileno=descriptor)
        stream.setblocking(False)
        return await self._loop.create_unix_connection(factory, sock=stream)

    def _on_packets(self):
        while (received := self._control.receive()) is not None:
            packet, descriptor = received
            if descriptor is None or packet.get('type') not in ('connected', 'accepted'):
                leave(EXIT_RUNNER_GONE)  # not a runner that speaks this protocol
            if packet['type'] == 'accepted':
                self._accept(descriptor, packet['peer'])
            else:
                self._dialled.pop(packet['peer']).set_result(descriptor)


class Server(asyncio.AbstractServer):
    """What MPyC gets for `create_server`: it accepts until it is closed."""

    sockets = ()

    def __init__(self, network, factory):
        self.factory = factory
        self._network = network

    def close(self):
        self._network.unlisten(self)

    async def wait_closed(self):
        pass


def _is_mpyc(factory):
    """Whether MPyC's runtime itself, not the program, asks for the connection."""
    return getattr(factory, '__module__', None) == 'mpyc.runtime'
