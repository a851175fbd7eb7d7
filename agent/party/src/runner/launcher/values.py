"""How values travel between parties. For now this is pickle as it is, without an allow-list."""

from pickle import dumps, loads

__all__ = ['Refused', 'dumps', 'loads']


class Refused(Exception):
    """A value that does not pass."""
