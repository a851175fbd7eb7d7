"""A fake runner for the tests of the launcher: no sandbox, no network, no agreement.

It starts real launcher processes, which run real MPyC, speaks the control protocol with them and
crosses their streams by socket pairs. The real runner is the `runner` module of `agent/party`.
"""

import json
import os
import pathlib
import selectors
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / 'agent/party/src/runner/engine/mpyc/launcher/launcher.py'
PROGRAMS = ROOT / 'programs'
FIXTURES = pathlib.Path(__file__).resolve().parent / 'fixtures'
PYTHON = os.environ.get('MPYC_PARTY_TEST_PYTHON') or sys.executable
DEADLINE = 120  # seconds; a run that needs longer hangs


def require_mpyc():
    """Fail, rather than skip, where the interpreter for the parties lacks MPyC or what it can use."""
    if subprocess.run([PYTHON, '-I', '-c', 'import mpyc, numpy, gmpy2, uvloop'], capture_output=True).returncode:
        raise RuntimeError(f'{PYTHON} cannot import mpyc, numpy, gmpy2 and uvloop: name an interpreter that '
                           'can in MPYC_PARTY_TEST_PYTHON')


class Party:
    """One launcher process and the runner's end of its control socket."""

    def __init__(self, index, environment, launcher, python, stdin):
        self.index = index
        self.packets = []
        self.control, inherited = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._stdout, self._stderr = tempfile.TemporaryFile(), tempfile.TemporaryFile()

        def at_descriptor_3():
            os.dup2(inherited.fileno(), 3, inheritable=True)

        self.process = subprocess.Popen(
            [python or PYTHON, '-I', '-B', str(launcher or LAUNCHER)], env=environment, preexec_fn=at_descriptor_3,
            pass_fds=[3, inherited.fileno()], stdin=stdin,
            stdout=self._stdout, stderr=self._stderr)
        inherited.close()

    def send(self, kind, descriptor=None, **fields):
        packet = json.dumps({'type': kind, **fields}).encode()
        if descriptor is None:
            self.control.send(packet)
        else:
            socket.send_fds(self.control, [packet], [descriptor.fileno()])
            descriptor.close()

    def receive(self):
        """The next packet, kept in `packets`; None once the process has gone."""
        try:
            packet = self.control.recv(65536)
        except ConnectionResetError:  # it left packets unread; what it sent before is still there
            packet = self.control.recv(65536)
        if not packet:
            return None
        self.packets.append(json.loads(packet))
        return self.packets[-1]

    def of(self, kind):
        return [packet for packet in self.packets if packet['type'] == kind]

    @staticmethod
    def _text(file):
        file.seek(0)
        return file.read().decode()

    @property
    def stdout(self):
        return self._text(self._stdout)

    @property
    def stderr(self):
        return self._text(self._stderr)

    @property
    def printed(self):
        """The lines of the program, without MPyC's log, whose lines begin with the date."""
        return [line for line in self.stdout.splitlines() if not line.startswith('20')]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for file in (self.control, self._stdout, self._stderr):
            file.close()


class Run:
    """A run of one program among m launcher processes."""

    def __init__(self, program, parties, arguments=(), options=(), threshold=None, inputs=None,
                 allow_list=True, allow_unknown_mpyc=False, only=None, launcher=None, python=None,
                 stdin=subprocess.DEVNULL):
        self.parties = {}
        self._directory = tempfile.TemporaryDirectory()
        for index in range(parties) if only is None else only:
            environment = {}
            if inputs is not None:
                path = os.path.join(self._directory.name, f'input-{index}')
                pathlib.Path(path).write_text(inputs[index])
                environment['MPYC_PARTY_INPUT'] = path
            party = self.parties[index] = Party(index, environment, launcher, python, stdin)
            party.send('start', program=str(program), arguments=list(arguments), options=list(options),
                       parties=parties, index=index, allow_list=allow_list,
                       allow_unknown_mpyc=allow_unknown_mpyc,
                       threshold=(parties - 1) // 2 if threshold is None else threshold)
        self.deadline = time.monotonic() + DEADLINE

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for party in self.parties.values():
            party.close()
        self._directory.cleanup()

    def events(self):
        """Yield (party, packet) as packets arrive, and (party, None) when a process ends."""
        with selectors.DefaultSelector() as selector:
            for party in self.parties.values():
                selector.register(party.control, selectors.EVENT_READ, party)
            while selector.get_map():
                ready = selector.select(max(0, self.deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError('the run hangs: ' + ', '.join(
                        f'party {party.index}: {party.packets[-1:]}' for party in self.parties.values()))
                for key, _ in ready:
                    packet = key.data.receive()
                    if packet is None:
                        selector.unregister(key.fileobj)
                    yield key.data, packet

    def packets(self):
        """Start once all are ready, cross the streams, and yield (party, packet) as packets arrive."""
        waiting = set(self.parties)
        for party, packet in self.events():
            if packet is None:
                continue
            if packet['type'] == 'ready':
                waiting.remove(party.index)
                if not waiting:
                    for each in self.parties.values():
                        each.send('go')
            elif packet['type'] == 'dial':
                self.dialled(party, self.parties[packet['peer']])
            yield party, packet

    def finish(self):
        """Let it go on, and wait for the end of all processes."""
        for _ in self.packets():
            pass
        for party in self.parties.values():
            party.process.wait(DEADLINE)
        return self

    def dialled(self, party, peer):
        """Cross a stream; whether the peer listens already is for its launcher to mind."""
        near, far = socket.socketpair()
        party.send('connected', near, peer=peer.index)
        peer.send('accepted', far, peer=party.index)

    @property
    def statuses(self):
        return [party.process.returncode for party in self.parties.values()]


class RunTestCase(unittest.TestCase):
    """A test case that runs programs."""

    @classmethod
    def setUpClass(cls):
        require_mpyc()

    def run_program(self, program, parties, statuses=0, **settings):
        """Run to the end, check the exit statuses, return the parties."""
        with Run(program, parties, **settings) as run:
            run.finish()
            expected = [statuses] * len(run.parties) if isinstance(statuses, int) else statuses
            output = '\n'.join(f'{party.index}: {party.stdout}{party.stderr}' for party in run.parties.values())
            self.assertEqual(run.statuses, expected, output)
            for party in run.parties.values():  # its files end with the run
                party.output = party.printed
                party.errors = party.stderr
            return list(run.parties.values())
