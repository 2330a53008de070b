"""Processes as /proc shows them, and waiting for events."""

import contextlib
import ctypes
import os
import re
import select
import shutil
import subprocess
import time

PATIENCE = 60  # seconds until a test gives up waiting for an event
PR_SET_CHILD_SUBREAPER = 36
OURS = set()  # pids of the test's own children, which no daemon left behind


def become_subreaper():
    """Makes every orphan below this process a child of it, so that none can hide."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), 'prctl(PR_SET_CHILD_SUBREAPER)')


def wait_until(condition, what, timeout=PATIENCE):
    """Polls the condition, and returns its first true value. `what` is waited for: a text, or a
    function that makes one for the failure."""
    deadline = time.monotonic() + timeout
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            what = what() if callable(what) else what
            raise AssertionError(f'not within {timeout} s: {what}')
        time.sleep(pause)
        pause = min(pause * 1.3, 0.03)


def stat(pid):
    """(state, parent, group, session, started) of a process, or None if it is gone."""
    try:
        with open(f'/proc/{pid}/stat', 'rb') as file:
            fields = file.read().rpartition(b')')[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    if not fields:  # it ended while we read
        return None
    return (fields[0].decode(), int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]))


def table():
    """{pid: (state, parent, group, session, started)} of all processes."""
    every = {}
    for name in os.listdir('/proc'):
        if name.isdigit():
            seen = stat(int(name))
            if seen:
                every[int(name)] = seen
    return every


def children(parent, zombies=False):
    """Children by /proc/PID/task/*/children: this is called all the time, and scanning all
    processes takes long where there are many. The kernel may omit a living child while another one
    is reaped (proc(5)), so two reads must agree."""
    found = None
    while found != (found := _children_at_a_look(parent)):
        pass
    return sorted(found if zombies else filter(alive, found))


def _children_at_a_look(parent):
    found = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(f'/proc/{parent}/task'):
            with open(f'/proc/{parent}/task/{task}/children', encoding='ascii') as file:
                found += map(int, file.read().split())
    return found


def descendants(ancestor, zombies=False):
    every = table()
    found, todo = [], [ancestor]
    while todo:
        parent = todo.pop()
        for pid, seen in every.items():
            if seen[1] == parent:
                todo.append(pid)
                if zombies or seen[0] not in 'ZX':
                    found.append(pid)
    return sorted(found)


def sleeps(pid):
    seen = stat(pid)
    return seen is not None and seen[0] == 'S'


def polls(pid):
    """Whether it sleeps in epoll_wait(), not just anywhere."""
    with open(f'/proc/{pid}/wchan', encoding='ascii') as file:
        return 'ep' in file.read()


def alive(pid):
    seen = stat(pid)
    return seen is not None and seen[0] not in 'ZX'


def title(pid):
    """The command line that ps shows."""
    try:
        with open(f'/proc/{pid}/cmdline', 'rb') as file:
            return file.read().rstrip(b'\0').replace(b'\0', b' ').decode(errors='replace')
    except (FileNotFoundError, ProcessLookupError):
        return ''


def accepts_no_more(pid):
    """Whether a worker has closed its listeners. The end of an idle worker does not tell: the
    master stops one worker after the other."""
    open_in = descriptors(pid)
    return '/dev/null' in [open_in[number] for number in open_in if number > 2]


def status(pid):
    """/proc/PID/status as a dict."""
    with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as file:
        return dict(line.rstrip('\n').split(':\t', 1) for line in file if ':\t' in line)


def describe(pid):
    """A line about a process for a person to read; empty if it is gone."""
    def read(name):
        try:
            with open(f'/proc/{pid}/{name}', encoding='utf-8', errors='replace') as file:
                return file.read().strip()
        except OSError:
            return '?'
    try:
        pending = re.findall(r'(?m)^\w+Pnd:\s*(\w*[1-9a-f]\w*)$', read('status'))
        return (f'{pid} {stat(pid)[0]} {title(pid)!r} in {read("wchan")}, system call '
                f'{read("syscall").split(" ")[0]}' + (f', pending {pending}' if pending else ''))
    except (OSError, TypeError):
        return ''


def cpu_seconds(pid):
    with open(f'/proc/{pid}/stat', 'rb') as file:
        fields = file.read().rpartition(b')')[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def memory_kilobytes(pid):
    """(anonymous memory, address space). In /proc/PID/status only VmSize is exact; smaps_rollup
    counts resident memory page by page."""
    with open(f'/proc/{pid}/smaps_rollup', encoding='ascii') as file:
        anonymous = next(line for line in file if line.startswith('Anonymous:'))
    return int(anonymous.split()[1]), int(status(pid)['VmSize'].split()[0])


def descriptors(pid):
    """{number: target} of a process's descriptors."""
    found = {}
    for name in os.listdir(f'/proc/{pid}/fd'):
        try:
            found[int(name)] = os.readlink(f'/proc/{pid}/fd/{name}')
        except FileNotFoundError:
            pass
    return found


def all_stopped(pid):
    """Whether all its threads are stopped: one that still runs may take a connection."""
    states = set()
    for task in os.listdir(f'/proc/{pid}/task'):
        with open(f'/proc/{pid}/task/{task}/stat', 'rb') as file:
            states.add(file.read().rpartition(b')')[2].split()[0])
    return states == {b'T'}


def copy_program(program, root, to):
    """Copies a program and the libraries that it loads below a root directory."""
    needed = subprocess.run(['ldd', program], capture_output=True, text=True, check=False).stdout
    files = {to: program} | {path: path for path in re.findall(r'(/\S+) \(0x', needed)}
    for name, source in files.items():
        os.makedirs(os.path.dirname(root + name), exist_ok=True)
        shutil.copy(source, root + name)


def reap_strays(known):
    """Reaps dead orphans; returns the living ones."""
    left = []
    me = os.getpid()
    for pid in sorted(pid for pid, seen in table().items() if seen[1] == me):
        if pid in known or pid in OURS:
            continue
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                left.append(pid)
        except ChildProcessError:
            pass
    return left


class Child:
    """A child of ours: waits with a timeout, and for no other child."""

    def __init__(self, pid):
        self.pid = pid
        self.status = None  # as subprocess has it: the exit code, or minus the signal

    def wait(self, timeout=PATIENCE):
        """The exit status, or None if it still runs."""
        if self.status is not None:
            return self.status
        end = os.pidfd_open(self.pid)
        try:
            if not select.select([end], [], [], timeout)[0]:
                return None
        finally:
            os.close(end)
        self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def running(self):
        return self.wait(0) is None
