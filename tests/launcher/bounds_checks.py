"""What a message of 1 MiB may take of its receiver, run by test_values.py with MPyC's options in sys.argv.

With MPYC_PARTY_TEST_FUZZ_SECONDS this is a fuzz target: it changes messages at random for so long, and says how
many there were and what the costliest of them took.
"""

import os
import random
import signal
import sys
import time
import unittest

OPTIONS = sys.argv[1:]  # MPyC takes them away. Without gmpy2, what has to do with fields takes longer

from costly import MOST, by_kind, by_opcode, changed, honest, of_fields  # first, since it knows where the launcher is
import receiver
import values

RANDOM_MESSAGES = 60
# About one in thirty can still be read: of so many, one that can is always there
ENOUGH_MESSAGES = 1000


def spin():
    while time.process_time() < receiver.MAX_SECONDS + 1:
        pass


class Bounds(unittest.TestCase):
    """No message takes more than 256 MiB or 2 s, and a refusal names whoever sent it."""

    def test_of_fields(self):
        self.all_within_bounds(of_fields())

    @unittest.skipIf(OPTIONS, 'whatever the options')
    def test_by_opcode(self):
        self.all_within_bounds(by_opcode())

    @unittest.skipIf(OPTIONS, 'whatever the options')
    def test_by_kind(self):
        self.all_within_bounds(by_kind())

    def all_within_bounds(self, messages):
        read = 0
        for data in messages:
            with self.subTest(data[:60]):
                read += receiver.receive(data[:MOST]).refused is None
        self.assertGreater(read, 10)

    @unittest.skipIf(OPTIONS, 'whatever the options')
    def test_changed_at_random(self):
        seed = int(os.environ.get('MPYC_PARTY_TEST_SEED') or random.randrange(2**32))
        seconds = float(os.environ.get('MPYC_PARTY_TEST_FUZZ_SECONDS') or 0)
        self.addCleanup(lambda: self._outcome.success or print('MPYC_PARTY_TEST_SEED', seed))
        chosen, begun = random.Random(seed), time.monotonic()
        messages = [*honest(), *by_opcode(), *by_kind()]
        outcomes = []
        while len(outcomes) < RANDOM_MESSAGES or time.monotonic() - begun < seconds:
            outcomes.append(receiver.receive(changed(chosen, chosen.choice(messages)[:MOST], messages)))
        read = sum(outcome.refused is None for outcome in outcomes)
        if len(outcomes) >= ENOUGH_MESSAGES:
            self.assertGreater(read, 0)
        if seconds:
            print(f'{len(outcomes)} messages, of which {read} were read; the most was '
                  f'{max(outcome.seconds for outcome in outcomes):.2f} s and '
                  f'{max(outcome.bytes for outcome in outcomes) >> 20} MiB')

    def test_a_receiver_that_takes_too_much_is_seen(self):
        """The bounds above are looked at: each of these does what no message can."""
        for work in (lambda: (300 << 20) * b'x', spin, lambda: os.kill(os.getpid(), signal.SIGKILL),
                     lambda: os._exit(receiver.exchange.EXIT_REFUSED)):
            real = values.loads
            values.loads = lambda data, work=work: work()
            try:
                with self.assertRaises(receiver.TooCostly):
                    receiver.receive(b'')
            finally:
                values.loads = real


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1])
