"""The launcher with real MPyC: a program runs as it would without us, and bad news is told."""

import os
import pathlib
import resource
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import unittest

import fake_runner
from fake_runner import FIXTURES, Run, RunTestCase


class Programs(RunTestCase):
    def test_events_and_figures(self):
        for parties in (2, 3):
            for party in self.run_program(FIXTURES / 'two_cycles.py', parties):
                self.assertEqual(party.output, [str(2**parties), str(3**parties)])
                self.assertEqual(len(party.of('started')), 2)
                self.assertEqual(len(party.of('connected')), 2)
                for stopped in party.of('stopped'):
                    self.assertGreater(stopped['bytes_sent'], 0)
                    self.assertGreater(stopped['elapsed_s'], 0)
                self.assertEqual(sorted(packet['peer'] for packet in party.of('dial')),
                                 sorted(2 * list(range(party.index + 1, parties))))
                listens = 2 if party.index else 0
                self.assertEqual((len(party.of('listen')), len(party.of('unlisten'))), (listens, listens))

    def test_both_event_loops(self):
        for options, loop in (([], 'uvloop'), (['--no-uvloop'], 'asyncio')):
            for party in self.run_program(FIXTURES / 'arrays.py', 3, options=options):
                self.assertEqual(party.output[0], '[[5, 14, 29], [50, 77, 110]]')
                self.assertEqual(party.output[1], '[5, 113]')
                self.assertEqual(party.output[2], '[[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]]')
                self.assertEqual(party.of('ready')[0]['loop'], loop)

    def test_what_the_parties_compare(self):
        said = subprocess.run(
            [fake_runner.PYTHON, '-c', 'import platform, numpy, gmpy2; print(platform.python_version(), '
             'numpy.__version__, gmpy2.version())'], capture_output=True, text=True).stdout.split()
        for options in ([], ['--no-numpy', '--no-gmpy2']):
            party, _ = self.run_program(FIXTURES / 'arguments.py', 2, options=options)
            python, numpy, gmpy2 = said
            ready = dict(party.of('ready')[0])
            self.assertIn(ready.pop('loop'), ('uvloop', 'asyncio'))
            self.assertEqual(ready, dict(
                type='ready', implementation='CPython', python=python, pointer_bits=64, mpyc='0.11', message_format=2,
                mpyc_digest=ready['mpyc_digest'], mpyc_known=True,
                numpy=None if options else numpy, gmpy2=None if options else gmpy2))

    def test_arguments_are_the_program_s(self):
        arguments = ['-M', '5', '-T', '0', '-h', '--help', '--no-a', '-P', 'x:1', '-H', '-V', '--ssl', '--', 'ä b']
        for party in self.run_program(FIXTURES / 'arguments.py', 2, arguments=arguments):
            program = str(FIXTURES / 'arguments.py')
            self.assertEqual(party.output, [
                f'{[program, *arguments]} arguments.py fixtures neighbour __main__'])

    def test_options_as_the_runner_allows_them(self):
        """Each spelling that `config/options.rs` takes means to MPyC what it is taken for."""
        flags = ['--no-prss', '--no-numpy', '--no-gmpy2', '--no-uvloop', '--mix32-64bit', '--no-barrier',
                 '--no-async', '--no-log', '--log-level', 'error', '-W4', '--log-level=error']
        # An argument of the program that looks like an option is none.
        arguments = ['-K1', '-L2', '-T0', '--sec-param=1', '--no-pr', '-I', '1']
        for security, length in ((['-K', '40'], ['-L', '48']), (['-K40'], ['-L48']), (['-K=40'], ['-L=48']),
                                 (['--sec-param', '40'], ['--bit-length', '48']),
                                 (['--sec-param=40'], ['--bit-length=48'])):
            options = [*security, *flags, *length]
            for party in self.run_program(FIXTURES / 'options.py', 2, options=options, arguments=arguments):
                self.assertEqual(party.output, [f'40 48 {party.index} 0 error 4', *7 * ['True']])
        for party in self.run_program(FIXTURES / 'options.py', 2, arguments=arguments):
            self.assertEqual(party.output, [f'30 32 {party.index} 0 info None', *7 * ['False']])

    def test_a_program_does_not_weaken_what_was_agreed(self):
        def refused(what, name, agreed, value):
            settings = {'threshold': 'threshold = {}', 'security parameter': 'options = ["-K", "{}"]',
                        'bit length': 'options = ["-L", "{}"]'}
            instead = '' if value is None else f', or agree on {settings[name].format(value)} in the session'
            return (f'{what}: the session agreed on {name} {agreed}; the program may not set {value}: '
                    f'take that out of the program{instead}')

        for options, k, bits in (([], 30, 32), (['-K40', '-L=48'], 40, 48)):
            for party in self.run_program(FIXTURES / 'weakens.py', 3, options=options):
                self.assertEqual(party.output, [
                    refused('threshold', 'threshold', 1, 0),
                    refused('sly threshold', 'threshold', 1, 0),
                    refused('no threshold', 'threshold', 1, None),
                    refused('threshold in options', 'threshold', 1, 0),
                    refused('sec_param', 'security parameter', k, 1),
                    refused('bit_length', 'bit length', bits, 1),
                    refused('other options', 'security parameter', k, 1),
                    refused('another runtime', 'threshold', 1, 0),
                    refused('set up again', 'threshold', 1, 0),
                    refused('set up alone', 'threshold', 1, 0),
                    refused('set up with -K', 'security parameter', k, 1),
                    refused('vars of the runtime', 'threshold', 1, 0),
                    refused('vars of the options', 'security parameter', k, 1),
                    refused('options in vars', 'bit length', bits, 1),
                    f'2 {k + 1} {bits + 1} {bits + 1}', '1'])

    def test_exit_statuses(self):
        for argument, status in (('0', 0), ('3', 3)):
            self.run_program(FIXTURES / 'ending.py', 2, statuses=status, arguments=[argument])
        for party in self.run_program(FIXTURES / 'ending.py', 2, statuses=1, arguments=['raise']):
            self.assertIn('RuntimeError: control of the program', party.errors)
            self.assertNotIn('runpy', party.errors)

    def test_no_other_network(self):
        for options in ([], ['--no-uvloop']):
            for party in self.run_program(FIXTURES / 'calls_home.py', 2, options=options):
                self.assertEqual(len(party.output), 6)
                for line in party.output:
                    self.assertIn('this session has no network', line)
                self.assertEqual(party.of('dial') + party.of('listen'), [])

    def test_an_object_no_party_would_read(self):
        with Run(FIXTURES / 'own_class.py', 2) as run:
            run.finish()
            self.assertEqual(run.statuses, [72, 72])
            for party in run.parties.values():
                self.assertEqual(party.packets[-1], {'type': 'refused', 'peer': party.index, 'what': '__main__.Vote'})


@unittest.skipUnless(os.environ.get('MPYC_PARTY_TEST_DEMOS'), 'MPYC_PARTY_TEST_DEMOS names no directory')
class Demos(RunTestCase):
    """MPyC's own demos, where the directory that holds them is named."""

    def test_demos(self):
        for name, *arguments in (['secretsanta'], ['sort'], ['elgamal'], ['dsa'], ['parallelsort'],
                                 ['pseudoinverse'], ['oneliners'], ['ot'], ['unanimous'], ['helloworld'],
                                 ['np_aes', '-1'], ['np_lpsolver'], ['np_onewayhashchains', '-k2'],
                                 ['np_id3gini']):
            with self.subTest(name):
                program = pathlib.Path(os.environ['MPYC_PARTY_TEST_DEMOS']) / f'{name}.py'
                threshold = 0 if name == 'parallelsort' else None  # it sets that itself
                for party in self.run_program(program, 3, arguments=arguments, threshold=threshold):
                    self.assertNotIn('Traceback', party.errors)


class Checkout:
    """A copy of MPyC in a directory of its own, and a Python that imports it, as from a checkout."""

    def __init__(self, directory):
        subprocess.run([fake_runner.PYTHON, '-m', 'venv', '--without-pip', f'{directory}/venv'], check=True)
        self.python = f'{directory}/venv/bin/python'
        find = 'import importlib.util as u; print(u.find_spec("mpyc").origin)'
        usual = pathlib.Path(subprocess.run([fake_runner.PYTHON, '-I', '-c', find], check=True, capture_output=True,
                                            text=True).stdout).parent
        self.package = pathlib.Path(directory) / 'checkout/mpyc'
        shutil.copytree(usual, self.package, ignore=shutil.ignore_patterns('__pycache__'))
        packages, = pathlib.Path(directory).glob('venv/lib/*/site-packages')
        (packages / 'checkout.pth').write_text(f'{self.package.parent}\n{usual.parent}\n')

    def append(self, name, line):
        with open(self.package / name, 'a') as file:
            file.write(f'\n{line}\n')


class Unknown(RunTestCase):
    """An MPyC that is no known release, where the session allows that."""

    def setUp(self):
        self.checkout = Checkout(self.enterContext(tempfile.TemporaryDirectory()))

    def ready(self, **settings):
        party, _ = self.run_program(FIXTURES / 'arguments.py', 2, python=self.checkout.python, **settings)
        return party.of('ready')[0]

    def test_the_same_files_are_the_same_release_wherever_they_are(self):
        usual = self.run_program(FIXTURES / 'arguments.py', 2)[0].of('ready')[0]
        self.assertEqual(self.ready(), usual)

    def test_each_change_has_another_digest(self):
        digests = {self.ready()['mpyc_digest']}
        (self.checkout.package / 'README').write_text('No import runs it.')
        self.assertIn(self.ready()['mpyc_digest'], digests)
        for name, line in (('statistics.py', '# changed'), ('more.py', ''), ('__init__.py', "__version__ = '0.11.2'")):
            self.checkout.append(name, line)
            ready = self.ready(allow_unknown_mpyc=True)
            self.assertEqual(ready['mpyc_known'], False)
            self.assertNotIn(ready['mpyc_digest'], digests)
            digests.add(ready['mpyc_digest'])
        self.assertEqual(ready['mpyc'], '0.11.2')

    def test_what_was_compiled_before_is_not_run(self):
        self.checkout.append('mpctools.py', 'print("what is there")')
        file = self.checkout.package / 'mpctools.py'
        before = file.stat()
        file.write_text(file.read_text().replace('what is there', 'what was here'))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        import_it = ['env', '-i', self.checkout.python, '-c', 'import mpyc.mpctools']
        self.assertIn('what was here', subprocess.run(import_it, capture_output=True, text=True).stdout)
        file.write_text(file.read_text().replace('what was here', 'what is there'))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        self.assertIn('what was here', subprocess.run(import_it, capture_output=True, text=True).stdout)
        for party in self.run_program(FIXTURES / 'two_cycles.py', 2, python=self.checkout.python,
                                      allow_unknown_mpyc=True):
            self.assertEqual(party.output, ['what is there', '4', '9'])


class NotReady(RunTestCase):
    def failed(self, message, launcher=None, python=None, **settings):
        settings = {'parties': 2, 'options': [], **settings}
        with Run(FIXTURES / 'transfer.py', only=[0], launcher=launcher, python=python, **settings) as run:
            run.finish()
            party = run.parties[0]
            self.assertEqual(run.statuses, [70], party.stderr)
            self.assertEqual([packet['type'] for packet in party.packets], ['failed'])
            self.assertRegex(party.packets[0]['message'], message)

    def test_options_that_the_session_settles(self):
        for option in ('--ssl', '-Pelsewhere:1', '-M3', '-B11365'):
            self.failed('would change', options=[option])

    def test_options_that_are_none(self):
        self.failed('MPyC has no option --secret: ', options=['--secret'])
        self.failed("invalid int value: 'long'", options=['-L', 'long'])
        self.failed('only prints', options=['-V'])
        self.failed('MPyC has no option -h: ', options=['-h'])
        self.failed('No such file', options=['-C', 'parties.ini'])

    def test_numbers_of_parties(self):
        self.failed('at least two parties', parties=1)
        self.failed('threshold 1 too large for 2 parties', threshold=1)

    def test_a_version_not_known(self):
        with tempfile.TemporaryDirectory() as directory:
            copy = pathlib.Path(directory) / 'launcher'
            shutil.copytree(fake_runner.LAUNCHER.parent, copy)
            text = (copy / 'releases.py').read_text()
            (copy / 'releases.py').write_text(text.replace("': '0.11',", "': '9.9',"))
            self.failed('MPyC 0.11 is not a version .* install MPyC 9.9', launcher=copy / 'launcher.py')

    def test_files_that_only_call_themselves_a_known_version(self):
        with tempfile.TemporaryDirectory() as directory:
            checkout = Checkout(directory)
            checkout.append('statistics.py', '# changed')
            self.failed('MPyC 0.11 is not a version .* allow-unknown-mpyc = true .*/mpyc, digest [0-9a-f]{64}',
                        python=checkout.python)

    def test_no_mpyc(self):
        with tempfile.TemporaryDirectory() as directory:
            subprocess.run([fake_runner.PYTHON, '-m', 'venv', '--without-pip', directory], check=True)
            self.failed('cannot import MPyC', python=f'{directory}/bin/python')


class Peers(RunTestCase):
    """Peers that are not MPyC: this test speaks its wire protocol."""

    EVIL = b'cposix\nsystem\n(S"touch evil"\ntR.'
    FINE = b'\x80\x03X\x04\0\0\0fine.'

    def frame(self, stream):
        """Read one frame of MPyC: label and payload."""
        label, size = struct.unpack('<qI', stream.recv(12, socket.MSG_WAITALL))
        return label, stream.recv(size, socket.MSG_WAITALL)

    def send(self, stream, label, payload):
        stream.sendall(struct.pack('<qI', label, len(payload)) + payload)

    def meet(self, run, party, peers, first=b''):
        """Let a party start and give it a stream to each of these peers; `first` goes ahead of all."""
        streams = {}
        for _, packet in run.events():
            if packet['type'] == 'ready':
                party.send('go')
            elif packet['type'] == 'dial':
                streams[packet['peer']], far = socket.socketpair()
                streams[packet['peer']].sendall(first)
                party.send('connected', far, peer=packet['peer'])
            elif packet['type'] == 'listen':
                for peer in range(party.index):
                    streams[peer], far = socket.socketpair()
                    streams[peer].sendall(peer.to_bytes(2, 'little') + first)
                    party.send('accepted', far, peer=peer)
            if set(streams) == set(peers):
                break
        for peer in streams:
            self.addCleanup(streams[peer].close)
            if peer > party.index:
                self.assertEqual(streams[peer].recv(2), party.index.to_bytes(2, 'little'))
        return streams

    def refused(self, run, party, peer, what):
        run.finish()
        self.assertEqual(run.statuses, [72], party.stderr)
        self.assertEqual(party.packets[-1]['type'], 'refused')
        self.assertEqual(party.packets[-1]['peer'], peer)
        self.assertRegex(party.packets[-1]['what'], what)

    def test_a_refusal_names_the_peer(self):
        for index, peers, culprit in ((0, [1, 2], 2), (1, [0, 2], 0), (2, [0, 1], 1)):
            for payload, what in ((self.EVIL, r'^posix\.system$'), (b'\x80', '^malformed pickle: ')):
                with Run(FIXTURES / 'transfer.py', 3, only=[index], options=['--no-prss']) as run:
                    party = run.parties[index]
                    for peer, stream in self.meet(run, party, peers).items():
                        label, _ = self.frame(stream)
                        self.send(stream, label, payload if peer == culprit else self.FINE)
                    self.refused(run, party, culprit, what)

    def test_a_message_that_came_before_it_was_awaited(self):
        with Run(FIXTURES / 'transfer.py', 2, only=[0], options=['--no-prss']) as run:
            label, _ = self.frame(self.meet(run, run.parties[0], [1])[1])
        evil = struct.pack('<qI', label, len(self.EVIL)) + self.EVIL
        with Run(FIXTURES / 'transfer.py', 2, only=[0], options=['--no-prss'], arguments=['late']) as run:
            self.meet(run, run.parties[0], [1], first=evil)
            self.refused(run, run.parties[0], 1, r'^posix\.system$')

    def test_the_list_is_what_refuses(self):
        """Without the allow-list the same peer gets its way, so the tests above test something."""
        with Run(FIXTURES / 'transfer.py', 2, only=[0], options=['--no-prss'], allow_list=False) as run:
            stream = self.meet(run, run.parties[0], [1])[1]
            label, _ = self.frame(stream)
            self.send(stream, label, b'cposix\n_exit\n(I33\ntR.')
            run.finish()
            self.assertEqual(run.statuses, [33])

    def violates(self, sent, what, memory=None):
        """Party 0 of 3, with this much memory, names party 2 for what it sends."""
        before = resource.getrlimit(resource.RLIMIT_DATA)
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, before[1]))
            self.addCleanup(resource.setrlimit, resource.RLIMIT_DATA, before)
        for options in ([], ['--no-uvloop']):
            with Run(FIXTURES / 'transfer.py', 3, only=[0], options=['--no-prss', *options]) as run:
                party = run.parties[0]
                stream = self.meet(run, party, [1, 2])[2]
                try:
                    stream.sendall(sent)
                except BrokenPipeError:
                    pass  # it read no further
                run.finish()
                self.assertEqual(run.statuses, [72], party.stderr)
                said = party.packets[-1]
                self.assertEqual((said['type'], said['peer']), ('violated', 2))
                self.assertRegex(said['what'], what)

    def test_messages_that_mpyc_cannot_take(self):
        one = struct.pack('<qI', 12345, len(self.FINE)) + self.FINE
        self.violates(one + one, 'two messages for one program counter')

    def test_messages_too_large_for_the_memory(self):
        self.violates(struct.pack('<qI', 1, 2**32 - 1), '4294967295 bytes ahead of what is awaited', memory=1 << 30)

    def test_messages_that_nobody_awaits(self):
        many = b''.join(struct.pack('<qI', number, 0) for number in range(900_000))
        self.violates(many, 'ahead of what is awaited', memory=1 << 30)

    def test_a_name_too_long_for_a_packet(self):
        with Run(FIXTURES / 'transfer.py', 2, only=[0], options=['--no-prss']) as run:
            stream = self.meet(run, run.parties[0], [1])[1]
            label, _ = self.frame(stream)
            self.send(stream, label, b'c' + b'x' * 100_000 + b'\ny\n.')
            self.refused(run, run.parties[0], 1, '^x{200}$')


class Leaving(RunTestCase):
    """A peer that leaves is told of where a message from it is awaited, and nowhere else."""

    def awaiting(self, parties, who, how, rest, number, options=()):
        """Whom each party awaits, once `number` of them have said so or all have ended."""
        arguments = [str(who), how, rest]
        with Run(FIXTURES / 'leaves.py', parties, arguments=arguments, options=options) as run:
            said = {}
            for party, packet in run.packets():
                if packet['type'] == 'awaiting':
                    said.setdefault(party.index, set()).add(packet['peer'])
                    if len(said) == number:
                        break
            if not number:
                for party in run.parties.values():
                    party.process.wait(fake_runner.DEADLINE)
                self.assertEqual(run.statuses, [0] * parties, [each.stderr for each in run.parties.values()])
            return said

    def test_who_leaves_early_is_awaited(self):
        for options in ([], ['--no-uvloop']):
            for how in ('exit', 'return'):
                for rest in ('output', 'shutdown'):
                    for who in range(3):
                        said = self.awaiting(3, who, how, rest, number=2, options=options)
                        self.assertEqual(said, {other: {who} for other in range(3) if other != who}, (how, rest))

    def test_of_two(self):
        for who in range(2):
            self.assertEqual(self.awaiting(2, who, 'exit', 'shutdown', number=1), {1 - who: {who}})

    def test_who_closes_one_connection_is_awaited_there(self):
        for who in range(3):
            said = self.awaiting(3, who, 'close', 'output', number=1)
            self.assertEqual(said, {(who + 1) % 3: {who}})

    def test_who_closes_a_transport_awaits_nobody_there(self):
        for options in ([], ['--no-uvloop']):
            for how in ('close', 'abort', 'write_eof'):
                with Run(FIXTURES / 'leaves.py', 3, arguments=['1', f'transport.{how}', 'output'],
                         options=options) as run:
                    said = set()
                    with self.assertRaises(TimeoutError):  # nobody goes on
                        for party, packet in run.packets():
                            if packet['type'] == 'awaiting':
                                said.add((party.index, packet['peer']))
                                run.deadline = time.monotonic() + 1  # for whatever else is said
                self.assertEqual(said, {(2, 1)}, (how, options))

    def test_who_gave_up_waiting_awaits_nothing(self):
        with Run(FIXTURES / 'leaves.py', 3, arguments=['2', 'exit', 'gives up']) as run:
            run.finish()
            self.assertEqual(run.statuses, [0] * 3, [party.stderr for party in run.parties.values()])
            for index in (0, 1):
                party = run.parties[index]
                self.assertEqual(party.stdout.count('gave up'), 3)
                said = [packet['type'] for packet in party.packets if packet['type'].startswith('awaiting')]
                self.assertGreaterEqual(len(said), 6)
                self.assertEqual(said, len(said) // 2 * ['awaiting', 'awaiting-no-more'])
    def test_who_is_not_awaited_may_leave(self):
        for who in range(3):
            self.assertEqual(self.awaiting(3, who, 'exit', 'alone', number=0), {})

    def test_nobody_has_to_shut_down(self):
        self.assertEqual(self.awaiting(3, 9, 'nobody', 'alone', number=0), {})


class RunnerGone(RunTestCase):
    def test_the_process_ends(self):
        for last in ('ready', 'dial', 'connected'):
            with Run(FIXTURES / 'transfer.py', 2, only=[0]) as run:
                party = run.parties[0]
                for _, packet in run.events():
                    if packet['type'] == last:
                        break
                    if packet['type'] == 'ready':
                        party.send('go')
                    elif packet['type'] == 'dial':
                        near, far = socket.socketpair()
                        self.addCleanup(far.close)
                        party.send('connected', near, peer=1)
                party.control.shutdown(socket.SHUT_RDWR)
                self.assertEqual(party.process.wait(fake_runner.DEADLINE), 71, party.stderr)

    def test_a_runner_that_speaks_something_else(self):
        with Run(FIXTURES / 'transfer.py', 2, only=[0]) as run:
            for party, packet in run.events():
                if packet is None:
                    break
                if packet['type'] == 'ready':
                    party.send('go')
                elif packet['type'] == 'dial':
                    party.send('connected', peer=1)
            self.assertEqual(party.process.wait(fake_runner.DEADLINE), 71, party.stderr)


if __name__ == '__main__':
    unittest.main()
