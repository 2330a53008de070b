"""The recipes for packages other than Debian's, as far as tools on Debian can check them.

Usage: test_recipes.py SOURCE-ROOT VERSION
"""

import os
import re
import shutil
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

    def test_the_container_begins_as_it_is_tested(self):
        """test_container.py starts preforkd with the same arguments."""
        recipe = read('Containerfile')
        self.assertIn('ENTRYPOINT ["/usr/sbin/preforkd", "--stderr"]\n', recipe)
        self.assertIn('STOPSIGNAL SIGTERM\n', recipe)


if __name__ == '__main__':
    PLACE = os.path.join(sys.argv.pop(1), 'conf', 'packaging')
    VERSION = sys.argv.pop(1)
    unittest.main(verbosity=2)
