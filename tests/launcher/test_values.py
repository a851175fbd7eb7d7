"""What may travel between parties, and what a peer cannot make the reader do."""

import pathlib
import subprocess
import unittest

import fake_runner

CHECKS = pathlib.Path(__file__).resolve().parent / 'value_checks.py'


class Values(unittest.TestCase):
    """The checks need MPyC, so they run in the interpreter of the parties."""

    def test_in_the_interpreter_of_the_parties(self):
        fake_runner.require_mpyc()
        for options in ([], ['--no-numpy'], ['--no-gmpy2']):
            with self.subTest(options):
                done = subprocess.run([fake_runner.PYTHON, '-B', str(CHECKS), *options],
                                      capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == '__main__':
    unittest.main()
