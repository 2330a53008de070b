"""The scoreboard, the log and systemd's status: that each is right, and that they agree."""

import os
import signal
import socket

import board
import client
import daemon
import wording
from processes import wait_until

ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d\n%s\necho {} }\n'
TIME = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d'


class Status(daemon.Case):
    def test_head(self):
        it = self.start(ECHO % (2, ''))
        status = board.status(it)
        version = self.run_preforkd('-V').stdout.split()[1]
        self.assertEqual((status['version'], status['preforkd'], status['pid']),
                         (1, version, it.pid))
        self.assertGreater(status['uptime'], 0)
        self.assertEqual(status['host'], socket.gethostname())
        self.assertRegex(status['time'], TIME)
        self.assertEqual(status['generation'], 1)
        self.assertEqual(status['reloads'],
                         {'done': 0, 'refused': 0, 'last': None, 'refusal': None})
        self.assertRegex(board.text(it, 'status'),
                         rf'^preforkd {version}, pid {it.pid}, up .*, generation 1\n\n')

    def test_counts(self):
        it = self.start(ECHO % (3, ''))
        for _ in range(4):
            client.ask(it.address('echo'), b'x')
        held = it.occupy('echo', 2)
        pool = board.wait_for_pool(it, busy=2, served=4)
        self.assertEqual((pool['state'], pool['ready'], pool['target'], pool['idle']),
                         ('serving', 3, 3, 1))
        self.assertEqual((pool['min_workers'], pool['max_workers']), (3, 3))
        self.assertEqual((pool['accepted'], pool['errors'], pool['handler']), (6, 0, 'echo'))
        workers = pool['workers']
        self.assertEqual(sorted(worker['pid'] for worker in workers), it.workers())
        self.assertEqual(sorted(worker['state'] for worker in workers), ['busy', 'busy', 'idle'])
        self.assertEqual(sum(worker['accepted'] for worker in workers), 6)
        for connection in held:
            connection.close()
        board.wait_for_pool(it, busy=0, idle=3, served=6)

    def test_full(self):
        it = self.start(ECHO % (2, ''))
        held = it.occupy('echo', 2)
        board.wait_for_pool(it, state='full')
        self.assertRegex(board.text(it, 'status'), r'(?m)^pool echo: full for ')
        held[0].close()
        board.wait_for_pool(it, state='serving')

    def test_listeners(self):
        it = self.make('pool "a" { listen = { "systemd:a", "unix:@DIR@/a" } workers = 1 echo {} }\n'
                       'pool "b" { listen = { "127.0.0.1:0" } backlog = 77 workers = 1 echo {} }')
        it.sockets['a'] = daemon.listen_tcp()
        inode = os.fstat(it.sockets['a'].fileno()).st_ino
        it.launch().ready()
        host, port = it.address('a')
        passed, path = board.pool(it, 'a')['listeners']
        self.assertEqual((passed['address'], passed['inode']), (f'{host}:{port}', inode))
        self.assertEqual(path['address'], 'unix:' + it.path('a'))
        other, = board.pool(it, 'b')['listeners']
        self.assertEqual((other['backlog'], other['queue'], other['room']), (77, 0, 77))
        text = board.text(it, 'status')
        self.assertRegex(text, rf'(?m)^{host}:{port} +a +\[-+\] +0/4096$')
        it.reload('pool "a" { listen = { "systemd:a" } workers = 1 echo {} }')
        board.wait_for_pool(it, 'a', listeners=[passed])
        wait_until(lambda: len(board.status(it)['pools']) == 1, 'the end of pool b')

    def test_reloads(self):
        it = self.start(ECHO % (1, ''))
        it.reload(ECHO % (1, 'nice = 1'))
        pool = board.wait_for_pool(it, ready=1, generation=2)
        self.assertEqual([worker['generation'] for worker in pool['workers']], [2])
        wait_until(lambda: board.status(it)['reloads']['done'] == 1, 'a counted reload')
        reloads = board.status(it)['reloads']
        self.assertEqual((reloads['refused'], reloads['refusal']), (0, None))
        self.assertRegex(board.text(it, 'status'), rf'(?m)^last reload: {TIME}, done$')
        it.announce(wording.REFUSED, wording.FAULT)
        it.reload('\n' + ECHO % (1, 'nonsense = 1'), refused=True)
        # The log reports it first.
        wait_until(lambda: board.status(it)['reloads']['refused'] == 1, 'a counted refusal')
        reloads = board.status(it)['reloads']
        self.assertEqual(reloads['done'], 1)
        self.assertTrue(reloads['refusal'].startswith(f'{it.file}:3: '), reloads)
        self.assertRegex(board.text(it, 'status'),
                         rf'(?m)^last reload: {TIME}, failed: {it.file}:3: ')
        it.reload(ECHO % (1, ''))
        wait_until(lambda: board.status(it)['reloads']['refusal'] is None, 'no refusal')
        wait_until(lambda: board.status(it)['generation'] == 3, 'the third generation')

    def test_a_reload_that_can_not_be_checked_is_refused(self):
        it = self.make(ECHO % (1, daemon.UNLISTED)).with_failing_calls().launch().ready()
        it.announce('reload refused: ')
        it.put('FORK', '')
        it.kill(signal.SIGHUP)
        it.wait_for_log("reload refused: can't start the check: Resource temporarily unavailable")
        wait_until(lambda: board.status(it)['reloads']['refused'] == 1, 'a counted refusal')
        self.assertEqual(board.status(it)['reloads']['refusal'],
                         "can't start the check: Resource temporarily unavailable")
        os.unlink(it.path('FORK'))
        it.reload()
        wait_until(lambda: board.status(it)['reloads']['done'] == 1, 'a counted reload')

    def test_old_worker_is_retiring(self):
        it = self.start(ECHO % (1, ''))
        worker, = it.workers()
        held, = it.occupy('echo', 1)
        it.reload(ECHO % (1, 'nice = 1'))
        pool = board.wait_for_pool(it, ready=1, idle=1, retiring=1)
        old = next(each for each in pool['workers'] if each['pid'] == worker)
        self.assertEqual((old['state'], old['generation']), ('busy', 1))
        held.close()
        board.wait_for_pool(it, retiring=0, retirements=1)

    def test_drained_and_removed(self):
        it = self.start(ECHO % (2, '') + ECHO.replace('echo', 'other', 2) % (1, ''))
        it.kill(signal.SIGWINCH)
        board.wait_for_pool(it, state='drained', ready=0, target=0, workers=[])
        it.reload()
        board.wait_for_pool(it, state='serving', ready=2)
        held, = it.occupy('other', 1)
        it.reload(ECHO % (2, ''))
        board.wait_for_pool(it, 'other', state='removed', retiring=1, listeners=[])
        held.close()
        wait_until(lambda: len(board.status(it)['pools']) == 1, 'the end of the pool')

    def test_the_log_and_systemd_say_the_same(self):
        it = self.start(ECHO % (2, ''))
        it.notices.wait(r'(?m)^STATUS=echo 2/2 workers ready, 0 retiring$')
        it.occupy('echo', 1)
        it.kill(signal.SIGTTIN)
        it.notices.wait(r'(?m)^STATUS=echo 3/3 workers ready, 0 retiring$')
        pool = board.wait_for_pool(it, ready=3, busy=1)
        mark = it.mark()
        it.kill(signal.SIGUSR1)
        line = it.wait_for_log('notice: pool echo: serving, 3 of 3 workers ready, 1 busy',
                               mark).string
        for key in ('state', 'ready', 'busy', 'retiring', 'generation', 'accepted', 'served'):
            self.assertEqual(wording.field(line, key), str(pool[key]), line)

    def test_systemd_gets_a_sum_of_many_pools(self):
        """All of them don't fit; those in trouble are named."""
        one = 'pool "a-pool-%02d" { listen = { "unix:@DIR@/%d" } workers = 1 echo {} }\n'
        it = self.start(''.join(one % (i, i) for i in range(40)))
        it.announce(wording.UNREACHABLE)
        it.notices.wait('(?m)^STATUS=40 pools, 40/40 workers ready, 0 retiring$')
        os.unlink(it.path('39'))
        it.notices.wait('(?m)^STATUS=40 pools, 40/40 workers ready, 0 retiring, '
                        'a-pool-39 1/1 unreachable$')
        for i in range(39):
            os.unlink(it.path(str(i)))
        it.notices.wait('(?m)^STATUS=40 pools, 40/40 workers ready, 0 retiring, '
                        '(a-pool-[0-9]{2} 1/1 unreachable, ){10,}and [0-9]+ more$')

    def test_text_is_narrow(self):
        it = self.start(ECHO % (2, ''))
        for word in ('status', 'deaths'):
            for line in board.text(it, word).splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_asked_while_all_changes(self):
        it = self.start(ECHO % (8, ''))
        for number in (signal.SIGHUP, signal.SIGWINCH, signal.SIGHUP, signal.SIGTTOU):
            it.kill(number)
            for _ in range(10):
                self.assertEqual(len(board.status(it)['pools']), 1)


if __name__ == '__main__':
    daemon.main()
