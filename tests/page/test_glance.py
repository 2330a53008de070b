"""What the status page shows at a glance: its host, and first of all what is wrong. And keys show
what the pointer shows."""

import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../behaviour'))

import browser
import daemon
from made_up import STATES, Made, Pool, death, few, many
from test_page import Case

OPEN = '.fold[aria-expanded=true] [data-name]'


class Title(Case):
    def title(self):
        return self.run_in('return document.title')

    def test_names_the_host(self):
        served = self.stub(Made(few(), host='web1.example'))
        self.assertEqual(self.title(), '(4) web1.example · preforkd')
        self.assertEqual(self.text('h1'), 'web1.example preforkd 0.1.0')
        for host in (None, ['odd'], {}):
            served.document = Made(few(), host=host)
            self.answers(served)
            self.wait(lambda: self.title() == '(4) preforkd', self.title)
        self.assertEqual(self.text('h1'), 'preforkd 0.1.0')

    def test_is_quiet_without_trouble(self):
        self.stub(Made([Pool('web', 2)], host='web1'))
        self.assertEqual(self.title(), 'web1 · preforkd')
        self.assertEqual(self.texts('#look + button'), [])

    def test_says_that_it_is_stale(self):
        self.announced.append('Failed to load resource')
        served = self.stub(Made(few(), host='web1'))
        served.status = 503
        self.wait(lambda: self.title().startswith('No answer'), self.title)
        self.assertRegex(self.title(), r'^No answer since \d\d:\d\d:\d\d · web1 · preforkd$')
        self.assertIn(self.title().split(' · ')[0], self.text('#link'))
        served.status = 200
        self.wait(lambda: self.title() == '(4) web1 · preforkd', self.title)

    def test_says_that_it_is_paused(self):
        self.stub(Made(few(), host='web1'))
        here = self.browser.command('GET', '/window')
        other = self.browser.command('POST', '/window/new', {'type': 'tab'})['handle']
        self.browser.command('POST', '/window', {'handle': other})

        def titles():
            return [target['title'] for target in
                    self.browser.devtools('Target.getTargets')['targetInfos']]
        try:
            paused = re.compile(r'^\(4\) paused at \d\d:\d\d:\d\d · web1 · preforkd$')
            self.wait(lambda: any(paused.match(title) for title in titles()), titles)
        finally:
            self.browser.command('DELETE', '/window')
            self.browser.command('POST', '/window', {'handle': here})
        self.wait(lambda: self.title() == '(4) web1 · preforkd', self.title)


class Trouble(Case):
    def test_comes_first(self):
        pools = few()
        self.stub(Made(pools))
        first = ['full', 'bad', 'app', 'mail', 'web', 'git', 'old']
        self.assertEqual(self.names(), first)
        # A pool in trouble moves up; one that has recovered keeps its place for a while.
        git = pools[1].more
        git |= {'state': 'degraded', 'trouble': 'gone'}
        moved = ['git', 'full', 'bad', 'app', 'mail', 'web', 'old']
        self.wait(lambda: self.names() == moved, self.names)
        git |= {'state': 'serving', 'trouble': None}
        self.wait(lambda: 'serving' in self.text(self.card('git', '.state')), 'that it serves')
        self.assertEqual(self.names(), moved)
        # Nothing moves while the list is in use; the focus stays with its pool.
        self.run_in('const one = document.querySelector(arguments[0]); one.focus();'
                    'const press = () => one.dispatchEvent(new Event("keydown", {bubbles: true}));'
                    'press(); window.presses = setInterval(press, 50)', self.card('web', '.fold'))
        web = pools[0].more
        web |= {'state': 'degraded'}
        self.wait(lambda: 'degraded' in self.text(self.card('web', '.state')), 'its state')
        self.assertEqual(self.names(), moved)
        self.run_in('clearInterval(window.presses)')
        self.wait(lambda: self.names()[0] == 'web', self.names)
        self.assertEqual(self.run_in('return document.activeElement.textContent.trim()'), 'web')

    def test_opens_by_itself(self):
        pools = [Pool(f'site{n:02}', 2) for n in range(20)]
        for pool in pools[9:16]:
            pool.more['state'] = 'unreachable'
        self.stub(Made(pools))
        self.assertEqual(self.texts(OPEN), [f'site{n:02}' for n in range(9, 14)])
        self.assertEqual(self.names()[:7], [f'site{n:02}' for n in range(9, 16)])

    def test_many_pools(self):
        """A button at the top shows all pools in trouble."""
        self.browser.resize(360, 740)
        served = self.stub(Made([Pool(f'site{n:02}', 2, state='degraded') for n in range(40)]))
        self.assertEqual(self.texts('#look + button'), ['36 more of what needs a look'])
        self.assertEqual(len(self.texts('#look li')), 4)
        self.browser.click('#look + button')
        self.answers(served)
        self.assertEqual(len(self.texts('#look li')), 40)
        self.assertEqual(self.texts(OPEN), ['site00', 'site01'])

    def test_all_slow(self):
        self.stub(Made([Pool('git', 2), Pool('web', 15, busy=1, slow=15, most=20)]))
        self.assertEqual(self.text('#look'), 'web: serving, 15 busy, all slow')
        legend = self.texts(self.card('web', '.legend li'))
        self.assertEqual(legend, ['15 busy', 'all slow', '0 idle'])

    def test_some_slow(self):
        self.stub(Made([Pool('web', 15, busy=1, slow=2, state='full', queue=3)]))
        self.assertEqual(self.text('#look'), 'web: full, all 15 busy, 2 slow, 3 queued')
        legend = self.texts(self.card('web', '.legend li'))
        self.assertEqual(legend, ['15 busy', '2 slow', '0 idle'])

    def test_rows_are_capped(self):
        deaths = [death(n, time.time()) for n in range(20)]
        made = Made([Pool('web', 15, busy=1, slow=15)], deaths)()
        made['pools'][0]['listeners'] *= 6
        self.stub(made)
        for table, few_, all_ in (('.pool .held', 5, 15), ('.pool [data-listeners]', 5, 12),
                                  ('#ledger table', 10, 20)):
            rows = f'{table} tbody tr'
            button = f'{table}{"" if table == ".pool .held" else " +"} .more'
            self.assertEqual(len(self.texts(rows)), few_)
            self.assertRegex(self.text(button), f'^{all_ - few_} more of ')
            self.run_in('document.querySelector(arguments[0]).click()', button)
            self.assertEqual(len(self.texts(rows)), all_)
            self.assertRegex(self.text(button), f'^first {few_} only')
            self.run_in('document.querySelector(arguments[0]).click()', button)
            self.assertEqual(len(self.texts(rows)), few_)

    def test_unreachable_listener(self):
        self.stub(Made(STATES['unreachable']()))
        self.assertEqual(self.names()[0], 'git')
        self.assertRegex(self.text('#look'), '^git: unreachable, nobody can connect to unix:')
        waits = self.texts('.pool:first-child [data-listeners] td:nth-child(2)')
        self.assertEqual(waits, ['unreachable', '0'])

    def test_one_more_is_shown(self):
        self.stub(Made([Pool('web', 6, busy=1, slow=6)]))
        self.assertEqual(len(self.texts('.held tbody tr')), 6)
        self.assertEqual(self.texts('.held .more'), [])

    def test_growth_is_no_trouble(self):
        """The time of serving continues, whatever the daemon's `seconds` say."""
        answer = Made([Pool('web', 4, least=2, most=8)])()
        pool = answer['pools'][0]

        def becomes(state, seconds):
            answer['uptime'] += 2
            pool.update(state=state, seconds=seconds)
            self.answers(served)
            return self.text(self.card('web', '.state'))
        served = self.stub(answer)
        self.assertRegex(becomes('serving', 7200), r'^serving\s*3 h 20 min$')
        self.assertRegex(becomes('starting', .2), r'^starting\s*0 s$')
        self.assertEqual(self.text('#look'), '1 pool, none in trouble')
        self.assertRegex(becomes('serving', .5), r'^serving\s*3 h 20 min$')
        self.assertRegex(becomes('full', 1), r'^full\s*1 s$')
        self.assertRegex(becomes('serving', 1), r'^serving\s*3 h 20 min$')
        # Trouble ends this time, and so does a pool that lacks workers for long.
        becomes('degraded', 1)
        self.assertRegex(becomes('serving', 1), r'^serving\s*1 s$')
        pool['ready'] = 1
        becomes('starting', 20)
        self.assertEqual(self.text('#look'), 'web: starting')


class Keys(Case):
    """Whichever was used last decides: the pointer or the keys."""

    def box(self, selector):
        return self.run_in('const box = document.querySelector(arguments[0])'
                           '.getBoundingClientRect(); return [box.x, box.y, box.width, box.height]',
                           selector)

    def test_seats(self):
        self.stub(Made([Pool('web', 8, busy=0)])())
        told, seats = (self.card('web', one) for one in ('.told', '.seats'))
        x, y, *_ = self.box(seats)
        hovered = []
        for at in range(3):
            self.browser.point(x + 8 + 22 * at, y + 8)
            hovered.append(self.text(told))
        self.assertEqual(len(set(hovered)), 3)
        self.run_in('document.querySelector(arguments[0]).focus()', seats)
        keyed = []
        for key in ('Home', 'Right', 'Right'):
            self.browser.press(key)
            keyed.append(self.text(told))
        self.assertEqual([text.split(':')[0] for text in keyed],
                         [text.split(':')[0] for text in hovered])
        self.browser.point(x + 9, y + 9)
        self.assertEqual(self.text(told).split(':')[0], hovered[0].split(':')[0])

    def test_plots(self):
        made = Made([Pool('web', 8)])
        served = self.stub(made)
        self.answers(served, 4)
        served.document = made()  # the line doesn't change from here on
        self.answers(served, 2)
        read, plot = (self.card('web', f'[data-plot=rate] {one}') for one in ('.read', 'input'))
        x, y, width, height = self.box(self.card('web', '[data-plot=rate] svg'))

        def value():
            return re.sub(r', \d+ s ago$', '', self.text(read))
        latest = self.text(read)
        self.run_in('document.querySelector(arguments[0]).focus()', plot)
        self.browser.press('Home')
        self.assertRegex(self.text(read), r'^(–|[\d,.]+/s), \d+ s ago$')
        keyed = value()
        self.assertRegex(self.run_in('return document.activeElement.ariaValueText'),
                         f'^{re.escape(keyed)}, \\d+ s ago$')
        self.assertEqual(self.run_in('return document.querySelector(arguments[0])'
                                     '.getAttribute("visibility")',
                                     self.card('web', '[data-plot=rate] .cross')), 'visible')
        self.browser.point(x + 1, y + height / 2)
        self.assertEqual(value(), keyed)
        self.browser.point(x + width - 1, y + height / 2)
        self.assertNotEqual(value(), keyed)
        self.browser.point(1, 1)  # outside of the plot: the keys decide again
        self.assertEqual(value(), keyed)
        self.run_in('document.activeElement.blur()')
        self.assertEqual(self.text(read), latest)


class Telephone(Case):
    def setUp(self):
        super().setUp()
        self.browser.resize(360, 740)

    def test_a_hundred_pools(self):
        served = self.stub(Made(many()))
        sums = self.texts('.group header')
        self.assertEqual([re.sub(r'\s+', ' ', text).split(',')[0] for text in sums],
                         ['cgi 34 pools', 'exec 32 pools', 'echo 32 pools'])
        self.assertEqual(self.names(), ['site17', 'site64'])
        closed = 'document.querySelectorAll(".pool .fold[aria-expanded=true]")' \
                 '.forEach(one => one.click())'
        self.run_in(closed)
        self.assertLess(self.run_in('return document.querySelector("#list").offsetHeight'), 740)
        self.assertLessEqual(self.run_in('return document.documentElement.scrollWidth'), 360)
        # A group first shows ten pools, and then all.
        self.browser.click('.group .fold')
        self.assertEqual(len(self.names()), 2 + 10)
        self.assertEqual(self.texts('.group > .more'), ['24 more of the pools of cgi'])
        self.browser.click('.group > .more')
        self.answers(served, 2)
        self.assertEqual(len(self.names()), 2 + 34)
        self.assertEqual(self.texts('.pool ' + OPEN), [])
        # A search finds a pool in any group.
        self.browser.type('#filter', '9043')
        self.wait(lambda: self.names() == ['site43'], self.names)
        self.assertEqual(self.text('#shown'), '1 of 100 pools')
        self.browser.click('.pool:not([hidden]) .fold')
        self.wait(lambda: self.texts(OPEN) == ['site43'], 'that it opens')

    def test_trouble_leaves_its_group(self):
        pools = many()
        self.stub(Made(pools))
        pools[30].more['state'] = 'degraded'
        self.wait(lambda: 'site30' in self.names(), self.names)
        self.assertEqual(self.names()[:2], ['site17', 'site30'])
        self.assertIn('33 pools', self.text('.group header'))

    def test_few_are_not_grouped(self):
        self.stub(Made(few()))
        self.assertEqual(len(self.names()), len(few()))
        self.assertEqual(self.texts('.group'), [])


if __name__ == '__main__':
    if browser.missing():
        print(f'skipped: no {browser.missing()} here')
        sys.exit(77)
    daemon.main()
