"""What the parties agreed on, held while the program runs: how many may pool what they saw, how MPyC masks.

MPyC reads the threshold from its runtime, and the security parameter and the bit length from the options
of its runtime, each time that it needs them. A program may raise them. One that lowers them, in whatever
runtime, gets an error. This is no sandbox: code in the same process can undo it, and stands in the program
for all to read.
"""

import argparse
import operator

NAMES = {'threshold': 'threshold', 'sec_param': 'security parameter', 'bit_length': 'bit length'}
SETTINGS = {'threshold': 'threshold = {}', 'sec_param': 'options = ["-K", "{}"]', 'bit_length': 'options = ["-L", "{}"]'}


def hold(mpc, threshold):
    """Keep this runtime, and every other that the program makes, at what was agreed or above."""
    agreed = dict(threshold=threshold, sec_param=mpc.options.sec_param, bit_length=mpc.options.bit_length)
    runtime, plain = type(mpc), type(mpc).threshold

    def checked(name, value):
        try:
            value = int(operator.index(value))
        except TypeError:
            value = None
        if value is None or value < agreed[name]:
            instead = '' if value is None else f', or agree on {SETTINGS[name].format(value)} in the session'
            raise ValueError(f'the session agreed on {NAMES[name]} {agreed[name]}; the program may not set {value}: '
                             f'take that out of the program{instead}')
        return value

    def held(name):
        def read(options):
            return checked(name, vars(options).get(name, agreed[name]))

        def write(options, value):
            vars(options)[name] = checked(name, value)

        return property(read, write)

    class Options(argparse.Namespace):
        """MPyC's options, as ever but for those that are held."""

    for name in agreed:
        setattr(Options, name, held(name))

    def options(runtime):
        if type(vars(runtime)['options']) is not Options:
            runtime.options = vars(runtime)['options']
        return vars(runtime)['options']

    def set_options(runtime, options):
        vars(runtime)['options'] = Options(**vars(options))

    runtime.options = property(options, set_options)
    runtime.threshold = property(lambda runtime: checked('threshold', plain.fget(runtime)),
                                 lambda runtime, value: plain.fset(runtime, checked('threshold', value)))
