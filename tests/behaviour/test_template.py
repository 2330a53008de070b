"""Templates: how they start and end, what they may say, and what works without one."""

import concurrent.futures
import contextlib
import os
import re
import signal
import socket
import threading

import client
import daemon
import fastcgi
import processes
import templates
import web
from processes import wait_until

FAILED = r'warning: pool \w+: the template .* failed'

# A template that breaks the protocol in one point.
LIAR = '''#!/usr/bin/python3
import os, select, socket, sys, time
point = sys.argv[1]
channel, go = socket.socket(fileno=os.dup(0)), os.dup(1)
if point == 'hangs':
    os.setpgid(0, os.getpgid(os.getppid()))
if point == 'silent':
    time.sleep(1000)
channel.send({'version': b'ready 2', 'babble': b'hello', 'long': b'ready ' + b'1' * 250,
              'refusal': b'failed it does\\n not want to'}.get(point, b'ready 1'))
pid = requests = 0
while True:
    data, fds, _, _ = socket.recv_fds(channel, 200000, 5)
    if not data or point == 'deaf':
        sys.exit(3)
    if data.startswith(b'reap'):
        status = os.waitpid(pid, 0)[1]
        if point == 'hangs':
            time.sleep(1000)
        if point == 'closes':
            os.close(0)
            channel.close()
            time.sleep(1000)
        channel.send({'status': b'ended 99999999999999999999 0 0', 'minus': b'ended -1 0 0',
                      'junk': os.urandom(200)}.get(point, b'ended %d 0 0' % status))
    else:
        if point == 'refuses':
            channel.send(b'failed not now')
            continue
        requests += 1
        pid = os.fork()
        if pid == 0 and point == 'ignores':
            os.setpgid(0, 0)
            if requests == 1:
                time.sleep(0.5)
                os._exit(0) # its turn has come, and is not taken
            if select.select([go], [], [], 0.5)[0]:
                os.write(fds[1], b'Content-Type: text/plain\\n\\ntoo early\\n')
                os._exit(0)
        if pid == 0:
            if point == 'session':
                os.setsid()
            elif point != 'group':
                os.setpgid(0, 0)
            channel.close()
            if os.read(go, 1) != b'g':
                os._exit(1)
            for at in range(3):
                os.dup2(fds[at], at)
            os.closerange(3, 100)
            os.write(1, b'Content-Type: text/plain\\n\\nby the liar\\n')
            os._exit(0)
        if point not in ('group', 'session'):
            os.setpgid(pid, pid)
        if point == 'ignores' and requests == 2:
            time.sleep(1)
        named = {'init': 1, 'worker': os.getppid(), 'master': os.getsid(os.getppid()),
                 'itself': os.getpid(), 'nobody': 4194303, 'zero': 0}.get(point, pid)
        if point == 'descriptors':
            socket.send_fds(channel, [b'forked %d' % pid], [0, 1, 2])
        else:
            channel.send(b'forked x' if point == 'word' else b'forked %d' % named)
    for fd in fds:
        os.close(fd)
'''


class Life(templates.Case):
    def test_scripts_are_forked_by_one_process(self):
        it = self.make_pools().launch().ready()
        parents = {self.parent(it) for _ in range(5)}
        worker, = it.workers('warm')
        self.assertEqual(len(parents), 1)
        self.assertEqual(processes.stat(parents.pop())[1], worker)

    def test_killed_template_is_replaced(self):
        it = self.make_pools().launch().ready()
        it.announce(FAILED)
        worker, = it.workers('warm')
        for _ in range(2):
            before = self.parent(it)
            os.kill(before, signal.SIGKILL)
            self.wait_gone(before)
            self.assertEqual(self.parent(it), worker)  # it was started without a template
            wait_until(lambda: self.parent(it) not in (before, worker), 'a new template')
            it.wait_for_log('the template .* is ready again')
        self.assertEqual(it.workers('warm'), [worker])

    def wait_gone(self, pid):
        wait_until(lambda: pid not in processes.table() or not processes.alive(pid), 'its end')

    def outlive(self, it, name):
        """The answer of a script whose template is killed before the script goes on."""
        with it.connect('warm') as connection:
            more = {'REQUEST_METHOD': 'POST', 'CONTENT_LENGTH': '1'}
            connection.sendall(fastcgi.head(self.params(it, name, more)))
            script, template = wait_until(lambda: [
                (child, pid) for pid in processes.children(it.workers('warm')[0])
                for child in processes.children(pid)], 'a script')[0]
            os.kill(template, signal.SIGKILL)
            wait_until(lambda: processes.stat(script)[1] != template, 'the end of the template')
            connection.sendall(fastcgi.stream(fastcgi.STDIN, 1, b'x'))
            return fastcgi.read_answer(connection)

    def test_running_script_outlives_its_template(self):
        """The web server and the log learn how it ended."""
        ends = {'0': (0, True, None), '3': (3, True, 'answered, and ended badly.* exit=3'),
                'f"{os.kill(os.getpid(), 9)}"': (None, False, 'cut off.* signal=KILL')}
        for text, (status, whole, logged) in ends.items():
            it = self.make_pools()
            self.script(it, 'waits.py', 'import sys, os\nprint("begins", flush=True)\n'
                        f'sys.stdin.read()\nprint("done", flush=True)\nsys.exit({text})\n')
            it.launch().ready()
            it.announce(FAILED)
            answer = self.outlive(it, 'waits.py')
            with self.subTest(text):
                self.assertTrue(answer.stdout.endswith(b'done\n'), answer.stdout)
                self.assertEqual((answer.app_status, answer.ended), (status, whole))
                if logged:
                    it.wait_for_log(f'the program .*waits.py .*{logged}')
            it.stop()

    def test_orphans_are_reaped(self):
        """A background process becomes the worker's child, and stays a zombie no longer than until
        the next program, even if its template died too."""
        it = self.make_pools()
        self.script(it, 'leaves.py', 'import os, sys\n'
                    'r, w = os.pipe()\n'
                    'if os.fork() == 0:\n    os.setsid()\n    os.close(w)\n'
                    '    os.dup2(os.open("/dev/null", os.O_RDWR), 1)\n    os.dup2(1, 2)\n'
                    '    os.read(r, 1)\n    os._exit(0)\n')
        it.launch().ready()
        it.announce(FAILED)
        worker, = it.workers('warm')
        templates_before = processes.children(worker)
        for _ in range(3):
            self.assertEqual(self.ask(it, 'leaves.py').app_status, 0)
        for pid in templates_before:
            os.kill(pid, signal.SIGKILL)
            self.wait_gone(pid)
        wait_until(lambda: all(not processes.alive(pid) for pid in
                               processes.children(worker, zombies=True)), 'the end of the zombies')
        self.ask(it, 'parent.py')
        wait_until(lambda: self.parent(it) != worker, 'a new template')
        self.assertTrue(all(map(processes.alive, processes.children(worker, zombies=True))))

    def test_kills_under_load(self):
        """Templates, scripts and a worker are killed: every answer is correct, and no more requests
        fail than were in hand."""
        it = self.make_pools(workers=3)
        it.launch().ready()
        it.announce(FAILED, 'killed by signal 9', "can't start: the template")
        answered, wrong, failed, ended = [], [], [], threading.Event()

        def load():
            while not ended.is_set():
                try:
                    answer = self.ask(it, 'parent.py')
                    right = answer.ended and answer.status == 200
                except (OSError, EOFError):
                    right = False
                if not right:
                    failed.append(right)
                answered.append(right)
                if right and not re.fullmatch(rb'\d+\n', answer.body):
                    wrong.append(bytes(answer.stdout))
        clients = [threading.Thread(target=load) for _ in range(4)]
        for each in clients:
            each.start()
        kills = 0
        for number in range(12):
            worker = it.wait_for_workers(3, pool='warm')[number % 3]
            victims = [pid for pid in processes.children(worker) if number % 2 == 0] or \
                      [child for pid in processes.children(worker)
                       for child in processes.children(pid)] or [worker]
            with contextlib.suppress(ProcessLookupError):
                os.kill(victims[number % len(victims)], signal.SIGKILL)
            kills += 1
            served = len(answered)
            wait_until(lambda: len(answered) > served + 4, 'answers')
        ended.set()
        for each in clients:
            each.join()
        self.assertEqual(wrong, [])
        self.assertLessEqual(len(failed), kills)

    def test_max_forks(self):
        """No request is started cold because of max_forks."""
        it = self.make_pools(cgi='template_max_forks = 3').launch().ready()
        parents = [self.parent(it) for _ in range(3)]
        self.assertEqual(len(set(parents)), 1)
        wait_until(lambda: self.parent(it) != parents[0], 'a new template')
        self.assertNotIn(it.workers('warm')[0], {self.parent(it) for _ in range(10)})
        self.assertEqual(it.log.find(FAILED), [])

    def test_killed_worker_takes_its_template_and_script_along(self):
        it = self.make_pools()
        self.script(it, 'sleeps.py', 'import time\ntime.sleep(1000)\n')
        it.launch().ready()
        it.announce('killed by signal 9')
        worker, = it.workers('warm')
        with it.connect('warm') as connection:
            connection.sendall(fastcgi.whole(self.params(it, 'sleeps.py')))
            wait_until(lambda: len(processes.descendants(worker)) == 3, 'two templates, a script')
            family = processes.descendants(worker)
            os.kill(worker, signal.SIGKILL)
            for pid in family:
                self.wait_gone(pid)
        self.assertNotIn(self.parent(it), family)

    def test_told_to_finish_while_it_loads(self):
        """By a stop, and alone: the worker does not wait for its template."""
        it = self.make_pools(words={'.py': 'template-python slow'},
                             both='environment = { "PYTHONPATH=@DIR@" }')
        it.put('slow.py', '')
        it.launch().ready()
        it.announce('killed by signal 9', 'ended after 0 requests; respawned in')
        it.put('slow.py', 'import time\ntime.sleep(1000)\n')

        def loads(*before):
            found = wait_until(lambda: [pid for pid in it.workers('warm') if pid not in before and
                                        processes.children(pid)], 'a worker that starts')
            return found[0]
        before, = it.workers('warm')
        it.kill(signal.SIGKILL, before)
        alone = loads(before)
        mark = it.mark()
        it.kill(signal.SIGTERM, alone)
        it.wait_for_log(f'worker {alone} ended after', mark)
        loads(before, alone)
        it.stop()
        self.assertEqual(it.log.find('killed by', mark), [])

    def test_request_timeout(self):
        """The whole group is signalled, SIGTERM first; the template stays."""
        it = self.make_pools('request_timeout = 5')
        self.script(it, 'sleeps.py', 'import os, signal, time\n'
                    'signal.signal(signal.SIGTERM, lambda *_: (print("asked"), os._exit(0)))\n'
                    'os.fork()\ntime.sleep(1000)\n', head=False)
        it.put('cgi/sleeps.py', '#!/usr/bin/python3\n'
               + open(it.path('cgi/sleeps.py'), encoding='utf-8').read(), 0o755)
        it.launch().ready()
        it.announce('took longer than request_timeout')
        before = self.parent(it)
        self.assertEqual(self.ask(it, 'sleeps.py').status, 504)
        self.assertEqual(self.parent(it), before)

    def test_what_can_not_run_cold_does_not_run_warm(self):
        it = self.make_pools()
        self.script(it, 'data.py', 'print("secret")\n', mode=0o644)
        it.launch().ready()
        self.assertEqual(self.ask(it, 'data.py').status, 403)
        self.assertEqual(self.ask(it, 'none.py').status, 404)
        os.symlink('/etc/passwd', it.path('cgi/out.py'))
        self.assertEqual(self.ask(it, 'out.py').status, 403)

    def test_single_program(self):
        it = self.make('pool "x" { listen = { "systemd:x" } workers = 1\n'
                       'cgi { program = "@DIR@/one.py"\n'
                       'template = { ".py=@DIR@/template-python" } } }\n')
        with open(os.path.join(templates.LIBEXEC, 'template-python'), encoding='utf-8') as file:
            it.put('template-python', file.read(), 0o755)
        it.put('one.py', templates.HEAD['.py'] + 'import os, sys\n'
               'print(sys.argv, os.getcwd(), os.getppid())\n', 0o755)
        it.launch().ready()
        worker, = it.workers()
        answer = fastcgi.ask(it.address('x'), {'REQUEST_METHOD': 'GET'})
        template, = processes.children(worker)
        self.assertEqual(answer.body.decode(),
                         f"['{it.path('one.py')}'] {it.directory} {template}\n")

    def test_without_template_and_first_line(self):
        it = self.make_pools(words={'.py': 'liar deaf'})
        it.put('liar', LIAR, 0o755)
        it.put('cgi/plain.py', 'print("x")\n', 0o755)
        it.launch().ready()
        it.announce(FAILED, "can't be started without its template")
        self.assertEqual(self.ask(it, 'plain.py').status, 503)

    def test_turn_that_was_not_taken(self):
        """A script that ends before its turn leaves the next script no turn."""
        it = self.make_pools(words={'.py': 'liar ignores'})
        it.put('liar', LIAR, 0o755)
        it.put('cgi/x.py', '#!/bin/sh\nexit 1\n', 0o755)
        it.launch().ready()
        it.announce('wrote nothing')
        self.assertEqual(self.ask(it, 'x.py').status, 500)
        self.assertEqual(self.ask(it, 'x.py').body, b'by the liar\n')

    def test_large_request_is_started_cold(self):
        it = self.make_pools().launch().ready()
        worker, = it.workers('warm')
        # Linux allows 128 KiB per variable.
        more = {'HTTP_X': 'x' * 100000, 'HTTP_Y': 'y' * 100000}
        self.assertEqual(int(self.ask(it, 'parent.py', more).body), worker)
        it.wait_for_log('the request is too large for it')
        self.assertNotEqual(self.parent(it), worker)

    def test_load_without_growth(self):
        """tests/bench/run-template makes ten times as many requests."""
        it = self.make_pools(words={'.py': 'template-python'}).launch().ready()
        template = self.parent(it)
        ours = template, it.workers('warm')[0]
        for _ in range(50):
            self.parent(it)
        open_before = [processes.descriptors(pid).keys() for pid in ours]
        before = [sum(processes.memory_kilobytes(pid)) for pid in ours]
        with concurrent.futures.ThreadPoolExecutor(4) as clients:
            parents = set(clients.map(lambda _: self.parent(it), range(1000)))
        self.assertEqual(parents, {template})
        for pid, numbers in zip(ours, open_before):  # a connection is closed just after its answer
            wait_until(lambda pid=pid, numbers=numbers:
                       processes.descriptors(pid).keys() <= numbers, 'no more descriptors')
        for pid, kilobytes in zip(ours, before):
            self.assertLess(sum(processes.memory_kilobytes(pid)), kilobytes + 600)

    def test_counts(self):
        it = self.make_pools(more='pool "status" { listen = { "systemd:status" } workers = 1\n'
                             'status {} }\n')
        it.put('cgi/t.pl', '#!/usr/bin/perl -T\nprint "a: b\\n\\n"', 0o755)
        it.launch().ready()
        for _ in range(3):
            self.parent(it)
        self.ask(it, 't.pl')
        report = web.get(it.address('status'), '/status.json').json()
        pools = {pool['name']: pool for pool in report['pools']}
        self.assertNotIn('templates', pools['cold'])
        found = pools['warm']['templates']
        self.assertEqual((found['forks'], found['cold_starts'], found['restarts']), (3, 1, 0))
        self.assertGreater(found['memory'], 1000000)
        self.assertGreater(pools['warm']['memory']['bytes'], found['memory'])


class Exec(templates.Case):
    def make(self, options='', words='"@DIR@/template-python", "json"', pool=''):
        it = super().make(f'pool "x" {{ listen = {{ "systemd:x" }} workers = 1 {pool}\n'
                          f'exec {{ command = {{ "@DIR@/script", "a b", "" }}\n'
                          f'template = {{ {words} }}\n{options} }} }}\n')
        for name in ('template-python', 'template-perl'):
            with open(os.path.join(templates.LIBEXEC, name), encoding='utf-8') as file:
                it.put(name, file.read(), 0o755)
        it.put('liar', LIAR, 0o755)
        return it

    def test_connection(self):
        it = self.make('stderr = "socket"')
        it.put('script', '#!/usr/bin/python3\nimport os, sys\nprint(sys.argv[1:], os.getcwd(), '
               'os.environ["PROTO"], sys.stdin.read(), flush=True)\nsys.exit("ends")\n', 0o755)
        it.launch().ready()
        for _ in range(3):
            answer = client.ask(it.address('x'), b'said')
            self.assertEqual(answer, b"['a b', ''] / TCP said\nends\n")
        it.wait_for_log('the program for .* exited with 1')

    def test_exit_status_outlives_the_template(self):
        it = self.make()
        it.put('script', '#!/usr/bin/python3\nimport os, sys\nprint(os.getppid(), flush=True)\n'
               'sys.stdin.read()\nsys.exit(3)\n', 0o755)
        it.launch().ready()
        it.announce(FAILED)
        with it.connect('x') as connection:
            template = int(connection.makefile('rb').readline())
            os.kill(template, signal.SIGKILL)
            wait_until(lambda: not processes.alive(template), 'the end of the template')
            connection.shutdown(socket.SHUT_WR)
            it.wait_for_log('the program for .* exited with 3')

    def test_client_sees_the_end_when_the_script_closes(self):
        it = self.make()
        it.put('script', '#!/usr/bin/python3\nimport os, time\nprint("x", flush=True)\n'
               'os.close(0)\nos.close(1)\ntime.sleep(1000)\n', 0o755)
        it.launch().ready()
        self.assertEqual(client.ask(it.address('x')), b'x\n')
        it.stop(signal.SIGQUIT)

    def test_request_timeout(self):
        """The master kills its group, with the processes it started."""
        it = self.make(pool='request_timeout = 5')
        it.put('script', '#!/usr/bin/python3\nimport os, time\nif os.fork() == 0:\n'
               '    time.sleep(1000)\nprint(os.getpid(), flush=True)\ntime.sleep(1000)\n', 0o755)
        it.launch().ready()
        it.announce('request_timeout', 'was killed by signal 15')
        with it.connect('x') as connection:
            script = int(connection.makefile('rb').readline())
            family = [script, *processes.children(script)]
            for pid in family:
                wait_until(lambda pid=pid: not processes.alive(pid), 'the end of the process')
        self.assertEqual(len(family), 2)

    def test_gigabyte_arrives_whole(self):
        it = self.make()
        it.put('script', '#!/usr/bin/python3\nimport sys\nfor _ in range(1024):\n'
               '    sys.stdout.buffer.write(b"x" * (1 << 20))\n', 0o755)
        it.launch().ready()
        room, count = bytearray(1 << 20), 0
        with it.connect('x') as connection:
            while n := connection.recv_into(room):
                count += n
        self.assertEqual(count, 1 << 30)

    def test_standard_error_goes_to_the_log(self):
        it = self.make()
        it.put('script', '#!/usr/bin/python3\nimport sys\nprint("aha", file=sys.stderr)\n', 0o755)
        it.launch().ready()
        client.ask(it.address('x'))
        it.wait_for_log('aha')

    def test_background_process_keeps_nothing_from_the_next(self):
        it = self.make()
        it.put('script', '#!/usr/bin/python3\nimport os, time\nif os.fork() == 0:\n'
               '    os.setsid()\n    os.closerange(0, 3)\n    time.sleep(1)\nelse:\n'
               '    print(sorted(os.listdir("/proc/self/fd")))\n', 0o755)
        it.launch().ready()
        for _ in range(3):
            self.assertEqual(client.ask(it.address('x')), b"['0', '1', '2', '3']\n")

    def refused(self, words, pattern, pool=''):
        it = self.make(words=words, pool=pool)
        it.put('script', '#!/usr/bin/python3\n', 0o755)
        it.announce('^preforkd.*err')
        it.launch()
        self.assertEqual(it.exited(), 1)
        it.log.wait(pattern)
        return it

    def test_check(self):
        for words, pattern in {
                '"@DIR@/template-python", "nosuch"':
                    r"conf:3: pool x: exec: the template /.*-python: "
                    r"ModuleNotFoundError: No module named 'nosuch'",
                '"@DIR@/none"': 'conf:3: pool x: exec: .* find the program /.*/none: No such',
                '"@DIR@/liar", "version"': 'it speaks version 2 of the protocol, not 1',
                '"@DIR@/liar", "babble"': 'it said nonsense',
                '"@DIR@/liar", "long"': 'it said nonsense',
                '"@DIR@/liar", "refusal"': r'liar: it does\? not want to',
                '"@DIR@/liar", "silent"': 'it was not ready after 4 s',
                '"/bin/true"': r'the template /bin/true: it has ended \(exit status 0\)'}.items():
            with self.subTest(words):
                self.refused(words, pattern)

    def test_perl_switches_that_no_template_can_have(self):
        for switch, patterns in {
                '-T': ['template-perl: PERL5OPT asks for -T, which no template can have'],
                '-t': ['template-perl: PERL5OPT asks for -t, which no template can have'],
                '-c': ['Illegal switch in PERL5OPT: -c',
                       r'template-perl: it has ended \(exit status 29\)']}.items():
            with self.subTest(switch):
                it = self.refused('"@DIR@/template-perl"', patterns[-1],
                                  f'environment = {{ "PERL5OPT={switch}" }}')
                it.log.wait(patterns[0])

    def test_options_need_each_other(self):
        it = self.make('template_max_forks = 5')
        it.write('pool "x" { listen = { "systemd:x" } workers = 1\n'
                 'exec { command = { "/bin/cat" }\ntemplate_max_forks = 5 } }')
        it.announce('^preforkd.*err')
        it.launch()
        self.assertEqual(it.exited(), 1)
        it.log.wait('conf:3: pool x: exec: template_max_forks needs a template')

    def test_reload(self):
        it = self.make()
        it.put('script', '#!/usr/bin/python3\nimport sys\nprint("json" in sys.modules, '
               '"csv" in sys.modules)\n', 0o755)
        it.launch().ready()
        self.assertEqual(client.ask(it.address('x')), b'True False\n')
        config = open(it.file, encoding='utf-8').read()
        it.announce('err')
        it.reload(config.replace('"json"', '"nosuch"'), refused=True)
        self.assertEqual(client.ask(it.address('x')), b'True False\n')
        it.reload(config.replace('"json"', '"csv"'))
        self.assertEqual(client.ask(it.address('x')), b'False True\n')


class Hostile(templates.Case):
    """Whatever a template says, its worker goes on, and the script runs once."""

    POINTS = ['deaf', 'group', 'init', 'worker', 'master', 'itself', 'nobody', 'zero', 'word',
              'refuses', 'session', 'descriptors', 'hangs', 'closes', 'status', 'minus', 'junk']
    RIGHT = POINTS[-6:]  # the script runs after these

    def test_lies(self):
        pools = ''.join(f'pool "{point}" {{ listen = {{ "systemd:{point}" }} workers = 1\n'
                        'cgi { root = "@DIR@/cgi" '
                        f'template = {{ ".py=@DIR@/liar {point}" }} }} }}\n'
                        for point in self.POINTS)
        it = self.make(pools)
        it.put('liar', LIAR, 0o755)
        self.script(it, 'honest.py', 'print("by itself")\n')
        it.launch().ready()
        it.announce(FAILED)
        workers = it.workers()

        def ask(point):
            return [fastcgi.ask(it.address(point), self.params(it, 'honest.py')) for _ in range(2)]
        with concurrent.futures.ThreadPoolExecutor(len(self.POINTS)) as clients:
            answers = dict(zip(self.POINTS, clients.map(ask, self.POINTS)))
        for point in self.POINTS:
            with self.subTest(point):
                for answer in answers[point]:
                    self.assertEqual(answer.status, 200)
                    self.assertIn(answer.body, [b'by itself\n', b'by the liar\n']
                                  if point in self.RIGHT else [b'by itself\n'])
        self.assertEqual(it.workers(), workers)
        for worker in workers:
            wait_until(lambda: len(processes.children(worker)) < 2, 'the end of old templates')


if __name__ == '__main__':
    daemon.main()
