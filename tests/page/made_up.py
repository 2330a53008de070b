"""Made-up answers of daemons whose counters grow as time passes."""

import math
import random
import time

BOUNDS = [.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30]


class Histogram:
    def __init__(self):
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.

    def add(self, seconds, times=1):
        at = next((i for i, bound in enumerate(BOUNDS) if seconds <= bound), len(BOUNDS))
        self.counts[at] += times
        self.sum += seconds * times

    def as_json(self):
        buckets, seen = [], 0
        for bound, count in zip(BOUNDS + [None], self.counts):
            seen += count
            buckets.append([bound, seen])
        return {'count': seen, 'sum': self.sum, 'buckets': buckets}


class Pool:
    def __init__(self, name, workers, handler='cgi', rate=40., busy=.3, median=.004, **more):
        self.name, self.workers, self.handler = name, workers, handler
        self.rate, self.busy, self.median = rate, busy, median
        self.more = more
        self.random = random.Random(name)
        self.service, self.wait = Histogram(), Histogram()
        self.accepted = 0
        self.refused = [0, 0, 0, 0, 0]
        self.phase = self.random.random() * 6

    def advance(self, seconds, now):
        swing = 1 + .5 * math.sin(now / 40 + self.phase) + .25 * self.random.random()
        arrived = int(self.rate * swing * seconds)
        self.accepted += arrived
        for _ in range(min(arrived, 60)):
            took = self.random.lognormvariate(math.log(self.median), .9)
            self.service.add(took, max(1, arrived // 60))
            self.wait.add(self.random.lognormvariate(math.log(3e-4), .7))
        self.refused[0] += self.random.random() < .2
        self.refused[1] += self.random.random() < .1

    def worker(self, slot, now):
        more = self.more
        chance = random.Random((slot + 1) * 7919 + int(now / (2 + slot % 7)))
        state = 'busy' if chance.random() < self.busy else 'idle'
        worker = {'slot': slot, 'pid': 4000 + slot * 3, 'state': state, 'retiring': False,
                  'seconds': round(chance.random() * 9, 3), 'age': 3600 + slot, 'generation': 3,
                  'accepted': 100 + slot, 'served': 100 + slot, 'program': None, 'slow': None,
                  'peer': f'192.0.2.{slot % 250}:{40000 + slot}' if state == 'busy' else None}
        if slot < more.get('slow', 0):
            worker |= {'state': 'busy', 'seconds': 71.5 + slot, 'peer': '[2001:db8::17]:51234',
                       'program': 9000 + slot,
                       'slow': {'seconds': 71.5 + slot, 'program': 9000 + slot,
                                'command': 'php-cgi', 'state': 'disk sleep',
                                'wchan': 'folio_wait_bit_common',
                                'syscall': None, 'cpu': 1.3, 'wait': 60.2, 'hidden': None,
                                'sampled': 1.2, 'children': [{'pid': 9100, 'command': 'sh',
                                                              'state': 'sleeping'}]}}
        elif slot >= self.workers - more.get('dead', 0):
            worker |= {'pid': None, 'state': 'waiting', 'peer': None, 'seconds': 4.2}
        elif slot >= self.workers - more.get('dead', 0) - more.get('starting', 0):
            worker |= {'state': 'starting', 'peer': None}
        elif slot >= self.workers - sum(more.get(key, 0)
                                        for key in ('dead', 'starting', 'retiring')):
            worker |= {'retiring': True, 'generation': 2}
        return worker

    def as_json(self, now):
        more = self.more
        workers = [self.worker(slot, now) for slot in range(self.workers)]
        count = {state: sum(one['state'] == state and not one['retiring'] for one in workers)
                 for state in ('busy', 'idle', 'starting', 'waiting')}
        queue = more.get('queue', 0)
        most = more.get('most', self.workers)
        templates = {'templates': {'forks': 1234, 'cold_starts': 5, 'restarts': 1,
                                   'memory': 18000000}} if 'templates' in more else {}
        return {
            'name': self.name, 'handler': self.handler, 'state': more.get('state', 'serving'),
            'seconds': 12000 + now % 1000, 'trouble': more.get('trouble'), 'generation': 3,
            'target': self.workers, 'min_workers': more.get('least', most), 'max_workers': most,
            'min_spare': 2 if 'least' in more else 0, 'max_spare': 8 if 'least' in more else 0,
            'ready': count['busy'] + count['idle'], **count,
            'retiring': sum(worker['retiring'] for worker in workers),
            'accepted': self.accepted, 'served': self.accepted - count['busy'], 'errors': 0,
            'refused': dict(zip(('denied', 'max_per_source', 'rate_per_source', 'proxy_protocol',
                                 'queue'), self.refused)),
            'retirements': 12, 'deaths': more.get('deaths', 1),
            'bytes_in': self.accepted * 310, 'bytes_out': self.accepted * 8400,
            'service_time': self.service.as_json(), 'queue_wait': self.wait.as_json(),
            'cpu': {'user': now * .31, 'system': now * .08, 'age': 1.5},
            'memory': {'bytes': self.workers * 2300000, 'age': 1.5},
            'listeners': [
                {'address': more.get('address', '192.0.2.1:8080'), 'backlog': 4096, 'inode': 31337,
                 'unreachable': more.get('state') == 'unreachable', 'queue': queue, 'room': 4096},
                {'address': f'unix:/run/preforkd/{self.name}.sock', 'backlog': 4096, 'inode': 31338,
                 'queue': 0, 'room': 128}],
            'workers': workers, **templates}


def death(number, now, **more):
    at = time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime(now - (65 - number) * 47))
    return {'number': number, 'time': at, 'pool': 'web', 'pid': 4000 + number, 'generation': 3,
            'exit': None, 'signal': 'SEGV', 'cause': 'own',
            'why': 'killed by signal 11 (Segmentation fault)', 'core': True, 'core_text': 'dumped',
            'out_of_memory': False, 'ready': True, 'age': 93.1 * number, 'served': 382,
            'peer': '192.0.2.7:4711', 'cpu_user': 1.25, 'cpu_system': .25, 'memory': 23000000,
            'last': 'PHP Fatal error:  Allowed memory size of 134217728 bytes exhausted in /srv/x',
            **more}


class Made:
    """A call returns the present answer. Time passes `speed` times as fast."""

    def __init__(self, pools, deaths=(), speed=1, **more):
        self.pools, self.deaths, self.speed, self.more = pools, list(deaths), speed, more
        self.began = self.last = time.monotonic()

    def __call__(self):
        now = time.monotonic()
        up = (now - self.began) * self.speed
        for pool in self.pools:
            pool.advance((now - self.last) * self.speed, up)
        self.last = now
        return {'version': 1, 'preforkd': '0.1.0', 'pid': 4711,
                'time': time.strftime('%Y-%m-%dT%H:%M:%S+00:00', time.gmtime()),
                'uptime': 93784.2 + up, 'generation': 3,
                'reloads': {'done': 2, 'refused': 0, 'last': '2026-11-25T09:14:02+00:00',
                            'refusal': None},
                'upgrades': 1, 'deaths': len(self.deaths), 'ledger': self.deaths,
                'pools': [pool.as_json(up) for pool in self.pools], **self.more}


def few():
    """Pools of every state."""
    return [Pool('web', 24, rate=50), Pool('git', 8, 'exec', rate=3, most=64, least=2),
            Pool('full', 6, busy=1, queue=5, state='full', slow=2),
            Pool('bad', 8, state='degraded', dead=5, starting=2, retiring=1, trouble='no file'),
            Pool('app', 3, 'app', rate=0, state='starting', starting=3),
            Pool('mail', 0, 'exec', rate=0, state='drained', most=4),
            Pool('old', 2, 'echo', rate=0, retiring=2, state='removed')]


def many():
    """A hundred pools of three handlers."""
    pools = [Pool(f'site{n:02}', 3, ('cgi', 'exec', 'echo')[n % 3], rate=1 + n % 7,
                  address=f'192.0.2.1:{9000 + n}') for n in range(100)]
    pools[17].more |= {'state': 'degraded', 'dead': 1, 'trouble': NO_PROGRAM}
    pools[64].more |= {'slow': 2}
    return pools


NO_PROGRAM = "its program can't be started: No such file or directory"
NOBODY = 'nobody can connect to unix:/run/preforkd/git.sock: a reload binds it anew'

# The pools of each state of the page, for a person to look at.
STATES = {
    'idle': lambda: [Pool('web', 16, rate=0, busy=0), Pool('git', 4, 'exec', rate=0, busy=0)],
    'busy': lambda: [Pool('web', 24, rate=400, busy=.7, templates=True),
                     Pool('git', 12, 'exec', rate=8, busy=.5, median=.3, least=2, most=64)],
    'full': lambda: [Pool('git', 4, 'exec', rate=1), Pool('mail', 4, 'exec', rate=1),
                     Pool('web', 15, busy=1, queue=37, state='full', slow=15)],
    'degraded': lambda: [Pool('git', 4, 'exec', rate=1), Pool('mail', 4, 'exec', rate=1),
                         Pool('web', 8, state='degraded', dead=5, trouble=NO_PROGRAM)],
    'unreachable': lambda: [Pool('web', 8), Pool('mail', 4, 'exec', rate=1),
                            Pool('git', 4, 'exec', rate=0, busy=0, state='unreachable',
                                 address='unix:/run/preforkd/git.sock', trouble=NOBODY)],
    'every': few,
    'many': many,
}
