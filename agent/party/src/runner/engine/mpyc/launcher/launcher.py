"""Runs an unmodified MPyC program inside the sandbox of a session.

The runner starts this file with nothing but a control socket. It imports MPyC as party `index` of
`parties`, says when it is ready, and on «go» runs the program as `__main__`; MPyC's connections
become descriptors handed over by the runner (network.py), and what peers send is unpickled by an
allow-list (values.py). Exit status: the program's own, 70 if MPyC could not be made ready, 71 if
the runner went away, 72 if something a peer sent was refused.
"""

import contextlib
import importlib
import io
import os
import platform
import runpy
import struct
import sys
import traceback

DIRECTORY = os.path.dirname(os.path.abspath(__file__))


def own(name):
    """Import a module that lies beside this file, which `python -I` leaves out of its path."""
    sys.path.insert(0, DIRECTORY)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(DIRECTORY)


runner = own('control')
network = own('network')
releases = own('releases')


class NotReady(Exception):
    """MPyC cannot be made ready; the message says why and what to do."""


def main():
    """Speak the protocol of the control socket: start, ready, go."""
    control = runner.Control()
    start = control.expect('start')
    # Into a pipe Python would hold back lines until the end, and lose them in a process killed.
    sys.stdout.reconfigure(line_buffering=True)
    try:
        mpc, release = import_mpyc(start)
        own('exchange').install(mpc, control, start['allow_list'])
        network.Network(control).take_over(mpc._loop)
        own('one_process').install(mpc._loop)
        own('agreed').hold(mpc, start['threshold'])
        versions = describe(mpc, release)
    except NotReady as error:
        control.send('failed', message=str(error))
        return runner.EXIT_NOT_READY
    except Exception as error:
        traceback.print_exc()
        control.send('failed', message=f'MPyC could not be made ready: {error!r}')
        return runner.EXIT_NOT_READY
    control.send('ready', **versions)
    control.expect('go')
    own('standard_input').watch(control)
    return run(start['program'], start['arguments'])


def import_mpyc(start):
    """Import MPyC as one of the parties and return its runtime, and which release it is.

    MPyC reads its options from sys.argv when it is imported, and only then. The arguments of the
    program come after that, or MPyC would take those that look like its own.
    """
    parties, index, options = start['parties'], start['index'], list(start['options'])
    if parties < 2:
        raise NotReady('a session needs at least two parties')
    addresses = [f'{network.host(peer)}:1' for peer in range(parties)]
    sys.argv = [start['program'], *options]
    for address in addresses:
        sys.argv += ['-P', address]
    sys.argv += ['-I', str(index), '-T', str(start['threshold'])]
    argv = list(sys.argv)

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            release = find_mpyc()
            permit(release, start['allow_unknown_mpyc'])
            import mpyc
            permit(release, start['allow_unknown_mpyc'])
            import mpyc.runtime
            if not hasattr(mpyc.runtime, 'mpc'):  # MPyC swallows the reason; a second try has it
                sys.argv = argv
                mpyc.runtime.setup()
    except ModuleNotFoundError as error:
        raise NotReady(f'the interpreter {sys.executable} cannot import MPyC ({error}): install MPyC '
                       f'{known_releases()} for it, or name another interpreter') from error
    except SystemExit as error:
        reason = said.getvalue().strip().rpartition('\n')[2] or 'it only prints something and ends'
        raise NotReady(f'MPyC does not start with the options {options}: {reason}') from error
    except AssertionError as error:
        raise NotReady(f'MPyC refuses this set-up: {error}') from error
    sys.stderr.write(said.getvalue())

    mpc = mpyc.runtime.mpc
    settled = dict(parties=addresses, index=index, threshold=start['threshold'], config=None, M=None,
                   base_port=None, ssl=False, help=False)
    if left := sys.argv[1:]:
        raise NotReady(f'MPyC has no option {left[0]}: arguments for the program are given as '
                       'arguments, not as options')
    if changed := [key for key, value in settled.items() if getattr(mpc.options, key) != value]:
        raise NotReady(f'the options {options} would change {changed[0]}, which the session settles: '
                       'leave that option out')
    return mpc, release


def find_mpyc():
    try:
        return releases.Release()
    except OSError as error:
        raise NotReady(f'the files of MPyC cannot be read in the sandbox: {error}') from error


def known_releases():
    return ' or '.join(releases.KNOWN.values())


def permit(release, unknown):
    """Refuse an MPyC that is no known release, unless the session allows that."""
    if release.is_known:
        return
    if not unknown:
        raise NotReady(f'MPyC {release.version} is not a version this launcher knows: install MPyC {known_releases()} '
                       f'for the interpreter {sys.executable}, or set allow-unknown-mpyc = true in the session, and '
                       f'all parties have to have these files (in {release.directory}, digest {release.digest})')
    release.compile_anew()


def describe(mpc, release):
    """What the parties compare before they start."""
    def version(name):
        module = sys.modules.get(name)
        return module and getattr(module, '__version__', None)

    return dict(
        implementation=platform.python_implementation(),
        python=platform.python_version(),
        pointer_bits=8 * struct.calcsize('P'),
        mpyc=mpc.version,
        mpyc_digest=release.digest,
        mpyc_known=release.is_known,
        numpy=version('numpy'),
        gmpy2=version('gmpy2'),
        message_format=own('values').FORMAT,
        loop='uvloop' if type(mpc._loop).__module__.startswith('uvloop') else 'asyncio',
    )


def run(program, arguments):
    """Run the program as python would, and return its exit status."""
    for name in ('agreed', 'awaited', 'control', 'exchange', 'network', 'one_process', 'releases', 'scan',
                 'standard_input', 'values'):
        del sys.modules[name]  # the program may have modules of these names
    if not os.path.exists(program):  # without a root of its own it lies elsewhere, and we begin beside it
        program = os.path.join(os.getcwd(), os.path.basename(program))
    directory = os.path.dirname(os.path.abspath(program))
    os.chdir(directory)
    sys.path.insert(0, directory)
    sys.argv = [program, *arguments]
    try:
        runpy.run_path(program, run_name='__main__')
    except Exception as error:
        frame = error.__traceback__
        while frame is not None and frame.tb_frame.f_code.co_filename != program:
            frame = frame.tb_next  # the launcher's own frames help nobody
        traceback.print_exception(type(error), error, frame)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
