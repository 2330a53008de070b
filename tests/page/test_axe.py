"""axe-core audits the page in each state, light and dark, on a desktop and a telephone.

axe-core comes from the npm registry, and is no part of the source: `npm install --global axe-core`,
or AXE_CORE=.../axe.min.js. If it is missing, the tests are skipped."""

import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../behaviour'))

import browser
import daemon
from made_up import STATES, Made, death
from test_page import Case

SIZES = {'desktop': (1280, 900), 'telephone': (360, 740)}

# The rules that are on by default, and those new in WCAG 2.2.
AUDIT = '''return axe.run(document, {resultTypes: ['violations'],
    rules: {'target-size': {enabled: true}}}).then(({violations}) => violations.flatMap(
        ({id, nodes}) => nodes.slice(0, 5).map(({html, failureSummary}) =>
            [id, html.slice(0, 200), failureSummary])));'''


def axe_core():
    """Returns its path, or None."""
    path = os.environ.get('AXE_CORE')
    if not path and shutil.which('npm'):
        root = subprocess.run(['npm', 'root', '--global'], capture_output=True, text=True,
                              check=True).stdout.strip()
        path = os.path.join(root, 'axe-core', 'axe.min.js')
    return path if path and os.path.exists(path) else None


class Axe(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with open(axe_core(), encoding='utf-8') as file:
            cls.browser.devtools('Page.addScriptToEvaluateOnNewDocument', source=file.read())

        cls.browser.command('POST', '/timeouts', {'script': 55000})

    def audit(self, what):
        self.assertEqual(self.run_in(AUDIT), [], what)

    def check(self, state, views=(('desktop', 'light'), ('telephone', 'dark'))):
        deaths = [death(n, time.time()) for n in range(1, 21)] if state != 'idle' else []
        for size, scheme in views:
            self.browser.resize(*SIZES[size])
            self.browser.media(prefers_color_scheme=scheme)
            served = self.stub(Made(STATES[state](), deaths, host='web1'))
            self.answers(served)
            self.audit(f'{state}, {size}, {scheme}')
            self.browser.open('about:blank')
            served.close()

    def test_the_other_way_round(self):
        self.check('every', (('desktop', 'dark'), ('telephone', 'light')))

    def test_with_everything_open(self):
        made = Made(STATES['many']())()
        made['pools'] = made['pools'][12:34]
        self.browser.resize(*SIZES['telephone'])
        self.stub(made)
        self.run_in('for (const one of document.querySelectorAll(".group > header .fold")) '
                    'one.click();'
                    'for (const one of document.querySelectorAll(".group .pool .fold, summary")) '
                    'if (one.checkVisibility()) one.click();')
        self.audit('everything open')

    def test_it_finds_what_is_wrong(self):
        self.stub(Made(STATES['idle']()))
        self.run_in('document.querySelector("#filter").closest("label").replaceWith('
                    'document.querySelector("#filter"));'
                    'document.querySelector("#filter").placeholder = ""')
        self.assertIn('label', [rule for rule, *_ in self.run_in(AUDIT)])

    def test_stale(self):
        self.announced.append('Failed to load resource')
        served = self.stub(Made(STATES['every']()))
        served.status = 503
        self.wait(lambda: self.text('#link').startswith('No answer'), lambda: self.text('#link'))
        self.audit('stale')


for name in STATES:
    setattr(Axe, f'test_{name}', lambda self, name=name: self.check(name))


if __name__ == '__main__':
    if not axe_core() or browser.missing():
        print(f'skipped: no {browser.missing() or "axe-core"} here')
        sys.exit(77)
    daemon.main()
