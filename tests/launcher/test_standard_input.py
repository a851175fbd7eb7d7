"""Standard input is to a program what it is without us, and a read that has to wait is told."""

import os
import subprocess
import tempfile
import time
import unittest

import fake_runner
from fake_runner import FIXTURES, Run, RunTestCase

WAYS = ('input', 'line', 'all', 'lines', 'some', 'iterate', 'bytes', 'piece', 'raw', 'raw all', 'into', 'open')
TEXTS = (b'', b'one', b'one\n', b'one\ntwo\n', b'one\r\ntwo\rthree', b'\xc3\xa4\n\xff\n', b'long ' * 20_000)
END = "prompt EOFError('EOF when reading a line')"
LONG = 0.5  # seconds; the launcher tells after 0.2


class StandardInput(RunTestCase):
    def plainly(self, way, stdin):
        """What Python says that runs the program by itself."""
        command = [fake_runner.PYTHON, '-I', '-B', str(FIXTURES / 'asks.py'), way]
        return subprocess.run(command, stdin=stdin, capture_output=True, text=True, env={}).stdout.splitlines()

    def told(self, way, stdin, **settings):
        """What it prints under the launcher, and what that tells of its reading."""
        with Run(FIXTURES / 'asks.py', 2, only=[0], arguments=[way], stdin=stdin, **settings) as run:
            run.finish()
            return run.parties[0].printed, self.reads(run.parties[0])

    def reads(self, party):
        return [packet['type'] for packet in party.packets if packet['type'] in ('asking', 'answered')]

    def test_what_is_there_is_read_as_without_the_launcher(self):
        for way in WAYS:
            for text in TEXTS if way in ('all', 'input', 'raw all') else TEXTS[3:6]:
                with self.subTest(way=way, text=text[:20]), tempfile.TemporaryFile() as file:
                    file.write(text)
                    file.seek(0)
                    expected = self.plainly(way, file)
                    file.seek(0)
                    self.assertEqual(self.told(way, file), (expected, []))

    def test_it_is_like_that_of_python(self):
        reader, writer = os.pipe()
        leader, follower = os.openpty()
        self.addCleanup(lambda: [os.close(each) for each in (reader, writer, leader, follower)])
        with tempfile.TemporaryFile() as file:
            for stdin in (file, subprocess.DEVNULL, reader, follower):
                self.assertEqual(self.told('describe', stdin), (self.plainly('describe', stdin), []))

    def test_an_end_and_nothing_at_all_are_no_questions(self):
        reader, writer = os.pipe()
        os.close(writer)
        self.addCleanup(os.close, reader)
        for stdin in (reader, subprocess.DEVNULL):
            self.assertEqual(self.told('input', stdin), (2 * [END], []))

    def test_who_does_not_wait_asks_nothing(self):
        reader, writer = os.pipe()
        self.addCleanup(lambda: [os.close(each) for each in (reader, writer)])
        self.assertEqual(self.told('unblocked', reader), (['None'], []))

    def answered(self, way, *answers):
        """The program reads; each answer follows when it has asked, and after the last the end."""
        reader, writer = os.pipe()
        answers = list(answers)
        with Run(FIXTURES / 'asks.py', 2, only=[0], arguments=[way], stdin=reader) as run:
            os.close(reader)
            for party, packet in run.packets():
                if packet['type'] != 'asking':
                    continue
                time.sleep(LONG)
                if answers:
                    os.write(writer, answers.pop(0))
                else:
                    os.close(writer)
            party.process.wait(fake_runner.DEADLINE)
            self.assertEqual(run.statuses, [0], party.stderr)
            if answers:
                os.close(writer)
            return party.printed, self.reads(party)

    def test_a_read_that_waits_is_told_and_that_it_was_answered(self):
        once, twice = ['asking', 'answered'], 2 * ['asking', 'answered']
        for way, first, second in (
                ('input', "prompt 'one'", "prompt 'two'"), ('line', r"'one\n'", r"'two\n'"),
                ('iterate', r"'one\n'", r"'two\n'"), ('bytes', r"b'one\n'", r"b'two\n'"),
                ('piece', r"b'one\n'", r"b'two\n'")):
            self.assertEqual(self.answered(way, b'one\n', b'two\n'), ([first, second], twice), way)
        self.assertEqual(self.answered('input', b'one\ntwo\n'), (["prompt 'one'", "prompt 'two'"], once))
        self.assertEqual(self.answered('thread', b'one\n'), (["prompt 'one'"], once))

    def test_all_of_it_waits_for_the_end(self):
        self.assertEqual(self.answered('all', b'one\n', b'two\n'),
                         ([r"'one\ntwo\n'", "''"], 3 * ['asking', 'answered']))
        self.assertEqual(self.answered('input'), (2 * [END], ['asking', 'answered']))

    def test_what_comes_soon_is_not_worth_telling(self):
        process = subprocess.Popen(
            [fake_runner.PYTHON, '-c', 'import time\nfor i in range(100): print(i, flush=True); time.sleep(0.01)'],
            stdout=subprocess.PIPE)
        with process:
            printed, reads = self.told('lines', process.stdout)
        self.assertEqual(len(eval(printed[0])), 100)
        self.assertLess(len(reads), 10, reads)  # a process that is slow to start is waited for


if __name__ == '__main__':
    unittest.main()
