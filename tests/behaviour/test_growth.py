"""The master's system calls per event must depend on what changed, not on the number of workers or
pools."""

import re
import signal

import daemon

FEW, MANY = 4, 120
EVENTS = 3
# One call per worker or pool, in one event, would exceed this.
SLACK = MANY // 2
ECHO = 'pool "echo" { listen = { "unix:@DIR@/echo" } workers = %d echo {} }\n'
POOLS = ''.join(f'pool "p{number}" {{ listen = {{ "unix:@DIR@/p{number}" }} workers = 1 '
                'echo {} }\n' for number in range(MANY))


class Growth(daemon.Case):
    def calls(self, it, act):
        """Counts the master's system calls until all events are handled."""
        it.announce('killed by signal 9')
        before = it.workers()
        with it.traced(it.pid):
            for number in range(EVENTS):
                act(it, number, before)
        with open(it.path('trace'), encoding='utf-8', errors='replace') as file:
            # How often it waits depends on how events coincide.
            return sum(bool(re.match(r'(?!epoll_wait|read\()\w+\(', line)) for line in file)

    def compare(self, small, large, act):
        few, many = (self.calls(self.start(config), act) for config in (small, large))
        self.assertGreater(few, EVENTS)
        self.assertLess(many, few + SLACK)

    @staticmethod
    def die(it, worker, count):
        since = it.mark()
        it.kill(signal.SIGKILL, worker)
        it.wait_for_log(rf'worker {worker} killed by signal 9', since)
        it.wait_for_workers(count, without=[worker])

    def test_death(self):
        self.compare(ECHO % FEW, ECHO % MANY, lambda it, number, before: self.die(
            it, before[number], len(before)))

    def test_death_beside_other_pools(self):
        few = ''.join(POOLS.splitlines(keepends=True)[:FEW])
        self.compare(few, POOLS, lambda it, number, before: self.die(
            it, it.workers(f'p{number}')[0], len(before)))

    def test_start_copies_no_pipes(self):
        """A fork copies the master's descriptors. Those of the others' standard error are not among
        them, or a start of many workers would cost the square of their number."""
        it = self.start(ECHO % 300)
        sizes = []
        for pid in it.workers():
            with open(f'/proc/{pid}/status', encoding='utf-8') as file:
                sizes.append(int(re.search(r'^FDSize:\s*(\d+)', file.read(), re.M)[1]))
        self.assertEqual(len(sizes), 300)
        self.assertLessEqual(max(sizes), 256)

    def test_state_to_the_log(self):
        def ask(it, *_):
            since = it.mark()
            it.kill(signal.SIGUSR1)
            it.wait_for_log('pool echo', since)
        self.compare(ECHO % FEW, ECHO % MANY, ask)


if __name__ == '__main__':
    daemon.main()
