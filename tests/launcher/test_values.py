"""What may travel between parties, and what a peer cannot make the reader do."""

import pathlib
import subprocess
import unittest

import fake_runner

DIRECTORY = pathlib.Path(__file__).resolve().parent


class Values(unittest.TestCase):
    """The checks need MPyC, so they run in the interpreter of the parties."""

    def test_in_the_interpreter_of_the_parties(self):
        fake_runner.require_mpyc()
        for checks in ('value_checks.py', 'hostile_checks.py', 'bounds_checks.py'):
            for options in ([], ['--no-numpy'], ['--no-gmpy2']):
                if checks == 'bounds_checks.py' and options == ['--no-numpy']:
                    continue  # these take longest, and there is less to be read without it
                with self.subTest(checks, options=options):
                    done = subprocess.run([fake_runner.PYTHON, '-B', str(DIRECTORY / checks), *options],
                                          capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == '__main__':
    unittest.main()
