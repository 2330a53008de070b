"""A module overwrites all shared memory and abuses each descriptor: no other pool notices."""

import signal

import hostile
from processes import wait_until

LEAST, MOST = -(1 << 63), (1 << 63) - 1

# Written to all shared writable memory. The last number N limits that to one word in N, so that its
# neighbours still look plausible.
WORDS = {
    'zero': 'words32 - 0 0',
    'one': 'words32 - 1 0',
    'minus one': 'words32 - -1 0',
    'the largest int': 'words32 - 0x7fffffff 0',
    'the smallest int': 'words32 - -0x80000000 0',
    'the process group of a worker': 'words32 - WORKER 0',
    'the process group of a witness': 'words32 - WITNESS 0',
    'the master': 'words32 - MASTER 0',
    'the largest number': f'words64 - {MOST} 0',
    'the smallest number': f'words64 - {LEAST} 0',
    'nearly everything': 'words64 - -2 0',
    'a witness here and there': 'words32 - WITNESS 3',
    'one here and there': 'words32 - 1 5',
    'the largest number here and there': f'words64 - {MOST} 7',
    'random bytes': 'random - 20261128',
    'remapped': 'remap',
}

# Done to every descriptor: [attacks in this order], whether they may damage the listeners.
DESCRIPTORS = {
    'emptied': (['drain - 0'], False),
    'filled': (['fill - 0'], False),
    'flags': (['nonblock - 0', 'block - 0', 'ioctl - 1', 'ioctl - 0'], False),
    'signals to a witness': (['owner - WITNESS', 'fill - 0', 'drain - 0'], False),
    'signals to the master': (['owner - MASTER', 'fill - 0', 'drain - 0'], False),
    'locks': (['lock - 0'], False),
    'shut down': (['shutdown - 0'], True),
    'connected': (['connect - 0'], True),
    'no backlog': (['listen - 0'], True),
    'options': (['options - 1', 'options - 0x7fffffff', 'options - 0'], True),
    'filtered': (['filter - 0'], True),
    'truncated': (['truncate - 0'], False),
    'made huge': (['truncate - 0x10000000000', 'truncate - 1'], False),
    'holes': (['punch - 0'], False),
    'sealed': (['seal - 0'], False),
    'watched': (['watch - 0'], False),
    'opened anew': (['reopen - 0'], False),
    'closed': (['close - 0'], False),
}

# In the background while the other pools work.
LASTING = {
    'scribbled': 'lasting memory 6 1',
    'emptied and blocking': 'lasting drain 6 0',
    'filled and blocking': 'lasting fill 6 0',
}


class Hostile(hostile.Case):
    def command(self, it, line):
        self.evil(it, self.expand(it, line))


class Memory(Hostile):
    pass


class Descriptors(Hostile):
    pass


class Lasting(Hostile):
    def test_ends_while_all_is_scribbled_over(self):
        """Workers of attacker and victim end in every way meanwhile."""
        it = self.begin()
        it.announce('killed by signal (3|9|15) ', r'pool (echo|load): .*; respawned in ')
        for number in (signal.SIGQUIT, signal.SIGTERM, signal.SIGKILL):
            for name in ('evil', 'echo', 'load', 'evil'):
                self.command(it, 'lasting memory 3 1')
                worker = wait_until(lambda: it.workers(name), f'a worker of {name}')[0]
                it.kill(number, worker)
                wait_until(lambda: worker not in it.workers(name) and it.workers(name),
                           f'another worker of {name}', timeout=hostile.BOUND)
        self.ctl(it, 'restart', 'echo')
        self.ctl(it, 'restart', 'evil')
        for name in ('echo', 'load'):
            self.assertTrue(hostile.serves(it.address(name)))
        for witness in self.witnesses:
            self.assertTrue(witness.unhurt(), f'the witness of {witness.user}')
        it.stop(timeout=hostile.BOUND)


def add(case, name, lines, listeners_hurt=False):
    def test(self):
        it = self.begin()
        for line in lines:
            self.command(it, line)
        if listeners_hurt:
            it.announce("can't set the backlog")
        self.everything_works(it, listeners_hurt)
    setattr(case, 'test_' + name.replace(' ', '_'), test)


for words, command in WORDS.items():
    add(Memory, words, [command])
for words, (commands, spoilt) in DESCRIPTORS.items():
    add(Descriptors, words, ['descriptors ' + command for command in commands], spoilt)
for words, command in LASTING.items():
    add(Lasting, words, [command, command])

if __name__ == '__main__':
    hostile.main()
