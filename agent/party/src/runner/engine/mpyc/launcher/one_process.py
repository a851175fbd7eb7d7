"""A program is one process: what Python does with several, and with memory to share between them.

The sandbox allows threads and no second process, since its limits are per process, and no anonymous memory
that is shared, since no limit counts it. It refuses both by an error that names neither. So whatever would
start a process raises an OSError that says what to do instead; `mmap.mmap(-1, …)`, which is shared only with
processes that there cannot be, gets private memory, which counts. Named shared memory, and the locks of
`multiprocessing`, are files in a /dev/shm that ends with the run, so that nothing has to track them.
"""

import asyncio
import errno
import importlib.machinery
import mmap
import os
import sys

import _posixsubprocess

ONE_PROCESS = ('mpyc-party runs a program as one process, and this would start another: use threads '
               '(threading, concurrent.futures.ThreadPoolExecutor), or do it before the run')
TRACKER = 'multiprocessing.resource_tracker'


def install(loop):
    """Replace what the sandbox refuses, in this interpreter and on loops like this one."""
    for name in ('fork', 'forkpty', 'posix_spawn', 'posix_spawnp', 'system'):
        if hasattr(os, name):
            setattr(os, name, _refusing(name))
    # What subprocess and multiprocessing start processes with.
    _posixsubprocess.fork_exec = _refusing('fork_exec')
    if 'subprocess' in sys.modules:
        sys.modules['subprocess']._fork_exec = _posixsubprocess.fork_exec
    for kind in {asyncio.BaseEventLoop, type(loop)}:  # uvloop has its own way to start one
        kind.subprocess_exec = kind.subprocess_shell = _start_none
    mmap.mmap = Private
    if TRACKER in sys.modules:
        _track_nothing(sys.modules[TRACKER])
    else:
        sys.meta_path.insert(0, TrackerFinder)


def _refusing(name):
    def refuse(*_, **__):
        raise OSError(errno.ENOSYS, ONE_PROCESS)

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


async def _start_none(*_, **__):
    raise OSError(errno.ENOSYS, ONE_PROCESS)


class Private(mmap.mmap):
    """A mapping as ever, but private where it would be shared and of no file."""

    def __new__(cls, fileno, length, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE,
                access=mmap.ACCESS_DEFAULT, offset=0, **options):
        if fileno == -1 and flags & mmap.MAP_SHARED:
            flags = flags & ~mmap.MAP_SHARED | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
            if access == mmap.ACCESS_READ:  # one is given, or the other
                prot, access = mmap.PROT_READ, mmap.ACCESS_DEFAULT
            elif access in (mmap.ACCESS_WRITE, mmap.ACCESS_COPY):
                access = mmap.ACCESS_DEFAULT
        return super().__new__(cls, fileno, length, flags=flags, prot=prot, access=access, offset=offset, **options)


Private.__name__ = Private.__qualname__ = 'mmap'
Private.__module__ = 'mmap'


def _track_nothing(tracker):
    """The process that cleans up after others is none that could be started, or that is needed."""
    def ignore(*_):
        pass

    kind = tracker.ResourceTracker
    kind.register = kind.unregister = ignore
    tracker.register = tracker.unregister = ignore


class TrackerFinder:
    """Changes the module of that name once a program imports it, which few do and which takes time."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != TRACKER:
            return None
        sys.meta_path.remove(cls)
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                _track_nothing(module)

            spec.loader.exec_module = exec_module
        return spec
