"""A daemon's scoreboard, read by the program `board` in the build directory."""

import contextlib
import json
import os
import subprocess

import daemon
from processes import wait_until

PROGRAM = os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/board')


def text(it, word):
    """`status` or `deaths`, as a terminal shows it."""
    return subprocess.run([PROGRAM, str(it.pid), word], check=True, capture_output=True,
                          text=True).stdout


@contextlib.contextmanager
def early(it):
    """A reader that maps the scoreboards now; the yielded function makes it read them, and returns
    the status."""
    with subprocess.Popen([PROGRAM, str(it.pid), 'status-json', 'later'], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as reader:
        it.case.assertEqual(reader.stdout.readline(), 'mapped\n')
        yield lambda: json.loads(reader.communicate()[0])


def status(it):
    return json.loads(text(it, 'status-json'))


def pool(it, name):
    return next(pool for pool in status(it)['pools'] if pool['name'] == name)


def wait_for_pool(it, name='echo', **wanted):
    """Waits until a pool has these values; returns its entry."""
    def settled():
        found = pool(it, name)
        return found if wanted.items() <= found.items() else None
    return wait_until(settled, lambda: f'{wanted}; it is {pool(it, name)}')


def deaths(it):
    return json.loads(text(it, 'deaths-json'))['deaths']
