"""The recipes for packages other than Debian's, as far as tools on Debian can check them.

Usage: test_recipes.py SOURCE-ROOT VERSION
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

PLACE = None
VERSION = None
SBIN = '/usr/sbin:/sbin'
SHELL = ('APKBUILD', 'build-deb', 'unit-tests', 'preforkd.initd', 'preforkd.pre-install',
         'preforkd.post-upgrade', 'debian/preforkd.postinst', 'debian/preforkd.prerm',
         'debian/preforkd.postrm')


def read(name):
    with open(os.path.join(PLACE, name), encoding='utf-8') as file:
        return file.read()


def run(*command):
    result = subprocess.run(command, cwd=PLACE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, check=False)
    return result.returncode, result.stdout


class Recipes(unittest.TestCase):
    """lintian checks Debian's own packages, in build-deb."""

    def test_all_have_the_version_of_the_build(self):
        for name, pattern in (('debian/changelog', r'\Apreforkd \((.*?)\)'),
                              ('preforkd.spec', r'(?m)^Version: +(.*)$'),
                              ('APKBUILD', r'(?m)^pkgver=(.*)$')):
            self.assertEqual(re.search(pattern, read(name))[1], VERSION, name)

    @unittest.skipUnless(shutil.which('rpmlint') and shutil.which('rpm'), 'no rpmlint or rpm')
    def test_rpmlint_finds_no_fault(self):
        status, output = run('rpmlint', '-r', 'preforkd.rpmlintrc', 'preforkd.spec')
        self.assertEqual(status, 0, output)
        self.assertIn(' 0 errors, 0 warnings', output)

    @unittest.skipUnless(shutil.which('apparmor_parser', path=SBIN), 'no apparmor_parser here')
    def test_the_profile_for_apparmor_is_sound(self):
        """Only its syntax; the kernel is not asked."""
        profile = os.path.join(PLACE, '../examples/apparmor/usr.sbin.preforkd')
        parser = [shutil.which('apparmor_parser', path=SBIN), '--skip-kernel-load', '--skip-cache']
        status, output = run(*parser, os.path.abspath(profile))
        self.assertEqual(status, 0, output)
        with open(profile, encoding='utf-8') as file:
            text = file.read()
        self.assertIn('/usr/sbin/preforkd flags=(complain) {', text)
        with tempfile.NamedTemporaryFile('w', encoding='utf-8') as broken:
            broken.write(text.replace('capability kill,', 'capability kill_all,'))
            broken.flush()
            self.assertNotEqual(run(*parser, broken.name)[0], 0)

    def test_scripts_are_shell(self):
        """Debian has no linter for an APKBUILD, so the shell checks the syntax."""
        for name in SHELL:
            self.assertEqual(run('sh', '-n', name), (0, ''), name)

    def with_programs(self, script, *arguments, **programs):
        """Runs shell text with only these fake programs, {name: shell text}, before the system's.
        Returns what it prints, and the programs' calls."""
        with tempfile.TemporaryDirectory() as place:
            for name, text in programs.items():
                path = os.path.join(place, name.replace('_', '-'))
                with open(path, 'w', encoding='utf-8') as file:
                    file.write(f'#!/bin/sh\necho "${{0##*/}} $*" >> {place}/calls\n{text}\n')
                os.chmod(path, 0o755)
            done = subprocess.run(['sh', '-c', script, 'sh', *arguments], cwd=place, check=False,
                                  env={'PATH': f'{place}:{os.environ["PATH"]}'}, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.assertEqual(done.returncode, 0, done.stdout)
            with open(os.path.join(place, 'calls'), encoding='utf-8') as file:
                return done.stdout, file.read().splitlines()

    def test_an_upgrade_asks_the_daemon_of_the_file(self):
        """If nobody answers on its control socket, it gets a signal, and a line says so."""
        dump = 'echo \'control = "/run/x.sock"\''
        spec = re.search(r'(?ms)^%systemd_post .*?\n(.*?)^%preun', read('preforkd.spec'))[1]
        for script in (spec, read('preforkd.post-upgrade')):
            said, calls = self.with_programs(script, '2', preforkd=dump, preforkctl='exit 0')
            self.assertEqual(said, '')
            self.assertEqual(calls[1:], ['preforkctl -s /run/x.sock ping',
                                         'preforkctl -s /run/x.sock upgrade'])
            running = subprocess.Popen(['sleep', '600'])
            self.addCleanup(running.wait)
            self.addCleanup(running.kill)
            said, calls = self.with_programs(
                script, '2', preforkd=dump, preforkctl='exit 3',
                systemctl=f'[ "$1" != show ] || echo {running.pid}',
                rc_service=f'[ "$3" != upgrade ] || kill -USR2 {running.pid}')
            self.assertEqual(said, 'preforkd: no answer on the control socket; the log will have '
                                   'the result\n')
            self.assertEqual(running.wait(60), -signal.SIGUSR2)
            # One that has just ended: 0 would be the group of the script, and ours.
            self.with_programs(script, '2', preforkd=dump, preforkctl='exit 3',
                               systemctl='[ "$1" != show ] || echo 0')
            said, _ = self.with_programs(script, '2', preforkd=dump, preforkctl='exit 3',
                                         systemctl='exit 3', rc_service='exit 3')
            self.assertEqual(said, '')

    def test_openrc_signals_its_own_daemon(self):
        for command, number in (('reload', 'HUP'), ('upgrade', 'USR2')):
            said, calls = self.with_programs(
                'preforkd_conf=/x.conf; ebegin() { :; }; eend() { return "$1"; }\n' +
                read('preforkd.initd') + f'command=preforkd\n{command}',
                preforkd='', preforkctl='', start_stop_daemon='')
            self.assertEqual((said, calls), ('', [
                'preforkd -t -c /x.conf',
                f'start-stop-daemon --signal {number} --pidfile /run/preforkd.pid']))

    def test_the_container_begins_as_it_is_tested(self):
        """test_container.py starts preforkd with the same arguments."""
        recipe = read('Containerfile')
        self.assertIn('ENTRYPOINT ["/usr/sbin/preforkd", "--stderr"]\n', recipe)
        self.assertIn('STOPSIGNAL SIGTERM\n', recipe)


if __name__ == '__main__':
    PLACE = os.path.join(sys.argv.pop(1), 'conf', 'packaging')
    VERSION = sys.argv.pop(1)
    unittest.main(verbosity=2)
