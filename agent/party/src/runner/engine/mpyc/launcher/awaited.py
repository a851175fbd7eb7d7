"""Messages that know their sender: those that came, and those still to come, which somebody awaits or not."""

import asyncio
import types


class Received(bytes):
    """A message that knows which peer sent it."""

    peer: int


def received(payload, peer):
    """The message with its sender."""
    message = Received(payload)
    message.peer = peer
    return message


class Awaited(asyncio.Future):
    """A message still to come from this peer."""

    peer: int

    def set_result(self, payload):
        if not self.done():  # it may have been given up
            super().set_result(received(payload, self.peer))


def is_wanted(future):
    """Whether anybody waits for this future, by way of what MPyC makes of it.

    Who gives up waiting for a result of MPyC cancels that, and nothing before it: the coroutine that
    would have computed it waits on.
    """
    seen, to_look_at = set(), [future]
    while to_look_at:
        future = to_look_at.pop()
        if future in seen or future.done():
            continue
        seen.add(future)
        if not future._callbacks:
            return True  # somebody may come
        for callback, *_ in future._callbacks:
            results = list(_results(callback))
            if not all(map(asyncio.isfuture, results)):
                return True
            to_look_at += results
    return False


def _results(callback):
    """The futures that a callback of another one brings on; something else where that is not known."""
    result = getattr(callback, '__self__', None)  # a task, or what gathers shares
    if isinstance(callback, types.FunctionType) and callback.__module__ == 'mpyc.asyncoro':
        # `decl`, what an MPyC coroutine returns, or `self`, a secure object
        cells = callback.__closure__ or ()
        result = cells[0].cell_contents if len(cells) == 1 else None
    return _shares(result)


def _shares(result):
    result = getattr(result, 'share', result)
    if not isinstance(result, (list, tuple)):
        yield result
    else:
        for one in result:
            yield from _shares(one)
