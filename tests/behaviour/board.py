"""What a daemon's scoreboard says, read by the program `board` beside it in the build."""

import json
import os
import subprocess

import daemon

PROGRAM = os.path.join(os.path.dirname(daemon.BINARY), '../tests/behaviour/board')


def text(it, word):
    """`status` or `deaths`, as a terminal shows it."""
    return subprocess.run([PROGRAM, str(it.pid), word], check=True, capture_output=True,
                          text=True).stdout


def status(it):
    return json.loads(text(it, 'status-json'))


def pool(it, name):
    return next(pool for pool in status(it)['pools'] if pool['name'] == name)


def deaths(it):
    return json.loads(text(it, 'deaths-json'))['deaths']
