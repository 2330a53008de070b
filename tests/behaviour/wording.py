"""The log's texts in one place: tests wait for events by these names.

The manual promises the levels and the key=value fields; the sentences before them may change.
"""

import re

LINE = re.compile(r'^(?P<ident>[^\s\[]+)\[(?P<pid>\d+)\]: '
                  r'(?P<level>err|warning|notice|info|debug): (?P<text>.*)$')

# Errors, warnings and crashes: a line like this fails a test that did not announce it.
TROUBLE = re.compile(r'^[^\s\[]+\[\d+\]: (err|warning): |killed by signal|Assertion|assertion')

# Output of the sanitizers; no test can announce it.
SANITIZER = re.compile(r'AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:')

READY = r'ready: every pool serves'
STOPPING = r'notice: stopping'
RELOADED = r'notice: reload done'
REFUSED = r'err: reload (refused|failed)'
UPGRADED = r'notice: upgraded from preforkd'
UPGRADE_REFUSED = r'err: upgrade refused'
TAKEN_OVER = r'notice: upgrade: preforkd \S+ takes over'
BACKOFF = r'(err|warning): .*; respawned in [\d.]+ s '
OVERDUE = (r'warning: .* by us, not done within graceful_timeout|'
           r'info: .* by us, told to stop at once')
LEFT_OUT = r' warning: .*left out.* missed=(\d+)'
UNREACHABLE = r'warning: (listener|control) unix:.*: its path was removed'
SHUT = r'warning: pool \S+: listener .* was shut down'
STILL_LOST = r"warning: (listener|control) unix:.*can't be opened again"
FAULT = r'err: (reload: )?\S+:\d+: '


def obituary(pid, **fields):
    """The pattern of a worker's exit report, with key=value fields in this order."""
    parts = [rf'\bpid={pid}\b'] + [rf'\b{key}={value}' for key, value in fields.items()]
    return '.*'.join(parts)


def field(line, key):
    """The value of key=value in a line, or None."""
    found = re.findall(rf'(?:^|\s){key}=("[^"]*"|\S*)', line)
    return found[-1].strip('"') if found else None

# An app program ended, and processes of its group outlived it.
LEFT_GROUP = 'did not end in time: killed'
