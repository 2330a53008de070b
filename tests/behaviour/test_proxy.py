#!/usr/bin/env python3
"""The PROXY protocol: headers of both versions, good, slow, split and lying; and HAProxy itself."""

import os
import shutil
import signal
import socket
import struct
import subprocess

import client
import daemon
import processes
import wording
from processes import wait_until

SIGNATURE = b'\r\n\r\n\0\r\nQUIT\n'
PEER = ('pool "peer" { listen = { "systemd:peer" } workers = 2 proxy_protocol = on\n'
        'proxy_from = { "127.0.0.1" } %s\n log_connections = true %s }\n')
ECHO = PEER % ('%s', 'echo {}')
REFUSED = r' info: pool peer: refused the connection from 127\.0\.0\.1:\d+: %s'


def v2(family, addresses, command=1, more=b''):
    return (SIGNATURE + bytes([0x20 | command, family])
            + struct.pack('>H', len(addresses) + len(more)) + addresses + more)


def ipv4(source='192.0.2.1', port=12345, more=b''):
    return v2(0x11, socket.inet_aton(source) + socket.inet_aton('198.51.100.2')
              + struct.pack('>HH', port, 443), more=more)


def ipv6(source='2001:db8::1', port=12345):
    return v2(0x21, socket.inet_pton(socket.AF_INET6, source)
              + socket.inet_pton(socket.AF_INET6, '2001:db8::2') + struct.pack('>HH', port, 443))


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


def summed():
    blank = ipv4(more=b'\x03\0\x04' + bytes(4))
    return blank[:-4] + struct.pack('>I', crc32c(blank))


class Proxy(daemon.Case):
    def ask(self, it, data, name='peer'):
        """Sends bytes and a half-close; returns the answer, or '' if the connection was closed
        unserved."""
        try:
            return client.ask(it.address(name), data)
        except TimeoutError:
            raise
        except OSError:
            return b''

    def renew(self, it, config):
        """Replaces the workers: each new one may log a refusal at once."""
        before = it.workers('peer')
        it.reload(config)
        it.wait_for_workers(2, without=before, pool='peer')

    def peer_of(self, it, data):
        """The peer that the log names for a connection with this header."""
        mark = it.mark()
        self.assertEqual(self.ask(it, data + b'hello'), b'hello')
        ended = it.wait_for_log(r' info: pool peer: connection from ', mark)
        return wording.field(ended.string, 'peer')


class Headers(Proxy):
    def test_the_proxied_address_is_the_peer(self):
        it = self.start(ECHO % '')
        unix = b'/run/client'.ljust(108, b'\0') + b'/run/server'.ljust(108, b'\0')
        proxied = {
            b'PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n': '192.0.2.1:12345',
            b'PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n': '[2001:db8::1]:12345',
            ipv4(): '192.0.2.1:12345',
            ipv6(): '[2001:db8::1]:12345',
            ipv6('::ffff:192.0.2.7'): '192.0.2.7:12345',
            ipv4(more=b'\x04\0\x03abc' + b'\xee\0\0'): '192.0.2.1:12345',
            ipv4(more=b'\x04' + struct.pack('>H', 60000) + bytes(60000)): '192.0.2.1:12345',
            summed(): '192.0.2.1:12345',
            v2(0x31, unix): 'unix:/run/client',
        }
        for header, peer in proxied.items():
            self.assertEqual(self.peer_of(it, header), peer, header[:60])

    def test_a_proxy_may_speak_for_itself(self):
        it = self.start(ECHO % '')
        own = [b'PROXY UNKNOWN\r\n', b'PROXY UNKNOWN whatever ::1 x\r\n', v2(0, b'', command=0),
               v2(0x11, bytes(12), command=0), v2(0xff, b'junk', command=0), v2(0, b''),
               v2(0, b'junk')]
        for header in own:
            self.assertRegex(self.peer_of(it, header), r'^127\.0\.0\.1:', header[:60])

    def test_byte_by_byte(self):
        it = self.start(ECHO % '')
        for header in (b'PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n',
                       ipv4(more=b'\x04\0\x01x')):
            mark = it.mark()
            with it.connect('peer') as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for byte in header + b'hello':
                    connection.sendall(bytes([byte]))
                self.assertEqual(client.read_exactly(connection, 5), b'hello')
            ended = it.wait_for_log(r' info: pool peer: connection from ', mark)
            self.assertEqual(wording.field(ended.string, 'peer'), '192.0.2.1:12345')
            self.assertEqual(wording.field(ended.string, 'in'), '5', 'the header counts')

    def test_a_program_gets_every_byte_behind_it(self):
        """The program reads the whole stream after the header, wherever the two are split."""
        it = self.start(PEER % ('', 'exec { command = "/bin/cat" }'))
        data = os.urandom(70000)
        for header in (b'PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n', summed(), ipv6(),
                       b'PROXY UNKNOWN\r\n', ipv4(more=b'\x04\x01\x00' + bytes(256))):
            for cut in (0, 1, len(header) - 1, len(header), len(header) + 1):
                whole = header + data
                with it.connect('peer') as connection:
                    connection.sendall(whole[:cut])
                    back = client.exchange(connection, whole[cut:])
                self.assertTrue(back == data, f'{len(back)} bytes came back, cut at {cut}')

    def test_its_variables_are_those_of_the_header(self):
        it = self.start(PEER % ('', 'exec { command = "/usr/bin/env" }'))

        def variables(header):
            lines = self.ask(it, header).decode().splitlines()
            return dict(line.split('=', 1) for line in lines)
        tcp = {'PROTO': 'TCP', 'TCPREMOTEIP': '192.0.2.1', 'TCPREMOTEPORT': '12345',
               'TCPLOCALIP': '198.51.100.2', 'TCPLOCALPORT': '443', 'REMOTE_ADDR': '192.0.2.1',
               'REMOTE_PORT': '12345'}
        self.assertLessEqual(tcp.items(), variables(ipv4()).items())
        six = variables(ipv6())
        self.assertEqual((six['TCPREMOTEIP'], six['TCPLOCALIP']), ('2001:db8::1', '2001:db8::2'))
        own = variables(b'PROXY UNKNOWN\r\n')
        self.assertEqual((own['TCPREMOTEIP'], own['TCPLOCALIP']), ('127.0.0.1', '127.0.0.1'))
        unix = b'/run/client'.ljust(108, b'\0') + b'/run/server'.ljust(108, b'\0')
        told = variables(v2(0x31, unix))
        self.assertEqual((told['PROTO'], told['UNIXLOCALPATH'], told['UNIXREMOTEEUID']),
                         ('UNIX', '/run/server', str(2 ** 32 - 1)), 'an unknown user')

    def test_a_program_waits_as_long_as_it_likes(self):
        """The program's socket has no timeout."""
        it = self.make(PEER % ('', 'exec { command = { "/usr/bin/python3", "@DIR@/ask" } }'))
        it.put('ask', 'import os, socket, struct\n'
               's = socket.socket(fileno=0)\n'
               'for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):\n'
               '    print(*struct.unpack("ll", s.getsockopt(socket.SOL_SOCKET, option, 16)))\n'
               'print(os.get_blocking(0))\n')
        it.launch().ready()
        self.assertEqual(self.ask(it, ipv4()), b'0 0\n0 0\nTrue\n')


class Refusals(Proxy):
    def test_lying_headers(self):
        it = self.start(ECHO % '')
        lies = {
            b'GET / HTTP/1.0\r\n\r\n': 'what came is none',
            b'PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n': 'what came is none',
            b'PROXY TCP4 192.0.2.1 198.51.100.2 12345 65536\r\n': 'addresses that are none',
            b'PROXY TCP6 192.0.2.1 198.51.100.2 12345 443\r\n': 'addresses that are none',
            b'PROXY UDP4 192.0.2.1 198.51.100.2 12345 443\r\n': 'neither TCP4',
            b'PROXY UNKNOWN ' + b'x' * 200 + b'\r\n': 'what came is none',
            ipv4(more=b'\x03\0\x04\0\0\0\0'): 'a checksum that is not its own',
            ipv4(more=b'\x04\0\x09x'): 'a value that goes beyond',
            v2(0x11, bytes(11)): 'less room',
            v2(0x11, bytes(12), command=2): 'a command',
            v2(0x41, bytes(12)): 'a family',
            SIGNATURE + b'\x11\x11\0\x0c' + bytes(12): 'what came is none',
            b'PROXY TCP4 192.0.2': 'the connection ended before it',
            ipv4()[:-1]: 'the connection ended before it',
            b'': 'the connection ended before it',
        }
        for number, (bytes_sent, why) in enumerate(lies.items()):
            # Each worker logs one line of a kind per second, so each lie gets a new worker.
            if number:
                self.renew(it, ECHO % f'umask = {number:o}')
            mark = it.mark()
            self.assertEqual(self.ask(it, bytes_sent), b'', bytes_sent[:40])
            told = it.wait_for_log(REFUSED % f'its PROXY header: {why}', mark)
            self.assertEqual(wording.field(told.string, 'reason'), 'proxy_protocol')
        self.assertEqual(self.ask(it, ipv4() + b'x'), b'x')

    def test_who_is_no_proxy(self):
        it = self.start('pool "peer" { listen = { "systemd:peer" } workers = 1 '
                        'proxy_protocol = "on" proxy_from = { "127.0.0.2" } echo {} }\n')
        self.assertEqual(self.ask(it, ipv4() + b'x'), b'')
        it.wait_for_log(REFUSED % 'it is not in proxy_from')

    def test_slow_headers(self):
        """The time counts from accept(), and arriving bytes don't extend it."""
        it = self.start(ECHO % 'proxy_timeout = 1')
        for header in (b'PROXY UNKNOWN ' + b'x' * 93, ipv4(more=bytes(60000))[:-30000], b''):
            mark = it.mark()
            with it.connect('peer') as connection:
                connection.settimeout(0.05)
                ended = False
                for byte in header:
                    try:
                        connection.sendall(bytes([byte]))
                        ended = connection.recv(1) == b''
                    except TimeoutError:
                        continue
                    except ConnectionError:
                        ended = True
                    if ended:
                        break
                connection.settimeout(client.PATIENCE)
                try:
                    self.assertEqual(b'' if ended else connection.recv(1), b'')
                except ConnectionError:
                    pass
            it.wait_for_log(REFUSED % 'its PROXY header: it was not complete in time', mark)
            self.renew(it, ECHO % f'proxy_timeout = 1 umask = {len(header) % 63:o}')

    def test_a_worker_is_free_again(self):
        it = self.start(ECHO % 'proxy_timeout = 5')
        for _ in range(2):
            self.addCleanup(it.connect('peer').close)
        self.assertEqual(self.ask(it, ipv4() + b'x'), b'x')

    def test_it_can_be_told_to_stop_while_it_waits(self):
        it = self.start(ECHO % 'proxy_timeout = 2')
        silent = it.connect('peer')
        self.addCleanup(silent.close)
        wait_until(lambda: [pid for pid in it.workers('peer')
                            if processes.title(pid).endswith('busy')], 'a busy worker')
        late = it.connect('peer')
        self.addCleanup(late.close)
        it.kill(signal.SIGTERM)
        self.assertEqual(it.exited(), 0)

    def test_faults(self):
        faults = {
            'proxy_protocol = on': 'needs proxy_from',
            'proxy_from = "127.0.0.1"': 'proxy_from needs proxy_protocol = "on"',
            'proxy_protocol = on proxy_from = "127.0.0.1/8"': 'did you mean "127.0.0.0/8"',
            'proxy_protocol = on proxy_from = "any"': 'proxy_from takes addresses and blocks',
            'proxy_protocol = v1 proxy_from = "127.0.0.1"': 'proxy_protocol takes off or on',
            'proxy_protocol = on proxy_from = "::1" proxy_timeout = 0': 'proxy_timeout takes',
        }
        for text, expected in faults.items():
            it = self.make('pool "peer" { listen = "127.0.0.1:0" workers = 1 %s echo {} }\n' % text)
            result = self.run_preforkd('-t', '-c', it.file)
            self.assertEqual(result.returncode, 1, text)
            self.assertIn(expected, result.stderr)


class Limits(Proxy):
    def test_the_gate_judges_the_proxied_address(self):
        it = self.start(ECHO % 'deny = "192.0.2.0/24" max_per_source = 1')
        self.assertEqual(self.ask(it, ipv4() + b'x'), b'')
        it.wait_for_log(r'refused the connection from 192\.0\.2\.1:12345: it is in deny')
        with it.connect('peer') as first:
            first.sendall(ipv4('203.0.113.1'))
            self.assertEqual(client.echo(first, b'x'), b'x')
            self.assertEqual(self.ask(it, ipv4('203.0.113.1', 2) + b'x'), b'')
            self.assertEqual(self.ask(it, ipv4('203.0.113.2') + b'x'), b'x')

    def test_over_a_unix_socket(self):
        config = ('pool "peer" { listen = "unix:@DIR@/sock" workers = 2 proxy_protocol = on '
                  'proxy_from = %s deny = "192.0.2.1" log_connections = true idle_timeout = 5 '
                  'echo {} }\n')
        it = self.make(config % '"127.0.0.1"')
        result = self.run_preforkd('-t', '-c', it.file)
        self.assertIn('proxy_from has no "unix"', result.stderr)
        it.write(config % '{ "127.0.0.1", "unix" }')
        it.launch().ready()
        it.addresses['peer'] = it.path('sock')
        self.assertEqual(self.peer_of(it, ipv6()), '[2001:db8::1]:12345')
        self.assertEqual(self.ask(it, ipv4() + b'x'), b'')
        with it.connect('peer') as connection:
            connection.sendall(ipv6())
            self.assertEqual(client.read_all(connection), b'', 'idle_timeout')

    def test_over_a_unix_socket_that_was_passed(self):
        config = ('pool "peer" { listen = "systemd:peer" workers = 1 %s\n'
                  '%s log_connections = true echo {} }\n')
        proxied = config % ('proxy_protocol = on', 'proxy_from = %s')
        why = r':2: pool peer: every connection to the passed socket unix:.*/s would be refused: '
        it = self.make(proxied % '"127.0.0.1"')
        it.sockets['peer'] = daemon.listen_unix(it.path('s'))
        it.announce(why)
        it.launch()
        self.assertEqual(it.exited(), 3)
        it.log.wait(why)
        it = self.make(config % ('', ''))
        it.sockets['peer'] = daemon.listen_unix(it.path('s'))
        it.announce(why, wording.REFUSED)
        it.launch().ready()
        it.reload(proxied % '"127.0.0.1"', refused=True)
        it.log.wait(why)
        it.reload(proxied % '"unix"')
        self.assertEqual(self.peer_of(it, ipv6()), '[2001:db8::1]:12345')

    def test_unix_clients_of_a_proxy_are_not_the_proxy(self):
        """The header does not name a user, so the proxy's user is neither limited nor reported."""
        it = self.start('pool "peer" { listen = "unix:@DIR@/sock" workers = 2 proxy_protocol = on '
                        'proxy_from = "unix" max_per_source = 1 echo {} }\n'
                        'pool "told" { listen = "unix:@DIR@/told" workers = 1 proxy_protocol = on '
                        'proxy_from = "unix" exec { command = { "/usr/bin/env" } } }\n')
        header = v2(0x31, b'/client'.ljust(108, b'\0') + b'/server'.ljust(108, b'\0'))
        for name, path in (('peer', 'sock'), ('told', 'told')):
            it.addresses[name] = it.path(path)
        with it.connect('peer') as first:
            first.sendall(header)
            self.assertEqual(client.echo(first, b'x'), b'x')
            self.assertEqual(self.ask(it, header + b'y'), b'y')
        told = client.ask(it.path('told'), header).decode()
        self.assertIn('UNIXREMOTEEUID=4294967295\n', told)
        self.assertIn('UNIXLOCALPATH=/server\n', told)


@daemon.unittest.skipUnless(shutil.which('haproxy') or os.path.exists('/usr/sbin/haproxy'),
                            'no haproxy here')
class HAProxy(Proxy):
    """A real HAProxy."""

    def front(self, it, options):
        """Starts HAProxy on a socket passed to it, in front of our daemon; returns its address."""
        listening = daemon.listen_tcp()
        address = listening.getsockname()
        host, port = it.address('peer')
        with open(it.path('haproxy.cfg'), 'w', encoding='ascii') as file:
            file.write('defaults\n mode tcp\n timeout connect 60s\n timeout client 60s\n'
                       f' timeout server 60s\nlisten front\n bind fd@{listening.fileno()}\n'
                       f' server one {host}:{port} {options}\n')
        child = subprocess.Popen(
            [shutil.which('haproxy') or '/usr/sbin/haproxy', '-db', '-f', it.path('haproxy.cfg')],
            pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        listening.close()
        self.addCleanup(child.wait)
        self.addCleanup(child.kill)
        return address

    def test_the_program_sees_the_clients_address(self):
        it = self.start(PEER % ('', 'exec { command = { "/bin/sh", "-c", '
                               '"read x; echo $x $TCPREMOTEIP $TCPREMOTEPORT $TCPLOCALIP" } }'))
        for options in ('send-proxy', 'send-proxy-v2',
                        'send-proxy-v2 proxy-v2-options crc32c,unique-id'):
            front = self.front(it, options)
            with socket.socket() as connection:
                connection.settimeout(client.PATIENCE)
                connection.bind(('127.0.0.9', 0))
                own = connection.getsockname()
                mark = it.mark()
                connection.connect(front)
                connection.sendall(b'hello\n')
                self.assertEqual(client.read_all(connection).decode().split(),
                                 ['hello', own[0], str(own[1]), '127.0.0.1'], options)
            ended = it.wait_for_log(r' info: pool peer: connection from ', mark)
            self.assertRegex(ended.string, rf'peer=127\.0\.0\.9:{own[1]}\b')

    def test_its_health_checks_are_served(self):
        it = self.start(ECHO % '')
        self.front(it, 'check inter 100ms send-proxy-v2 check-send-proxy')
        it.wait_for_log(r' info: pool peer: connection from 127\.0\.0\.1:')
        self.assertEqual(it.log.find('refused the connection'), [])


if __name__ == '__main__':
    daemon.main()
