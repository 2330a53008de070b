"""The status page in a real browser: with the daemon, and with made-up answers.

The page makes a request every 2 s. Here it waits for less, so that the tests don't take so long."""

import copy
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../behaviour'))

import browser
import client
import daemon
import stub
import wording
from browser import Browser
from made_up import Made, Pool, death, few
from processes import wait_until

HURRY = '''window.delays = [];
const later = window.setTimeout;
window.setTimeout = (what, after, ...rest) => {
    window.delays.push(after);
    return later(what, after === 2000 ? 100 : after, ...rest);
};'''

STATUS = 'pool "status" { listen = { "127.0.0.1:%d" } workers = 2 status {} }\n'
ECHO = 'pool "echo" { listen = { "systemd:echo" } workers = %d echo {} }\n'
HOSTILE = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>\\u202e&amp;'

# The text nodes that have too little contrast with their background.
CONTRAST = '''
const numbers = text => text.match(/[\\d.]+/g).map(Number);
const light = colour => colour.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92
    : ((v + .055) / 1.055) ** 2.4).reduce((all, v, at) => all + v * [.2126, .7152, .0722][at], 0);
const behind = node => {
    for (; node; node = node.parentElement) {
        const colour = numbers(getComputedStyle(node).backgroundColor);
        if (colour[3] !== 0) return colour;
    }
    return [255, 255, 255];
};
const poor = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text = walker.nextNode(); text; text = walker.nextNode()) {
    const parent = text.parentElement;
    if (!text.data.trim() || !parent.checkVisibility() || parent.closest('.unseen')) continue;
    const [one, other] = [numbers(getComputedStyle(parent).color), behind(parent)].map(light);
    const contrast = (Math.max(one, other) + .05) / (Math.min(one, other) + .05);
    if (contrast < 4.5) poor.push([text.data, contrast]);
}
return poor;'''


def named(nodes, role):
    return [name for found, name, _ in nodes if found == role]


class Case(daemon.Case):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)
        cls.browser.devtools('Page.addScriptToEvaluateOnNewDocument', source=HURRY)

    def setUp(self):
        super().setUp()
        self.browser.resize(1280, 900)
        self.browser.media(prefers_color_scheme='light')
        self.announced = []
        self.addCleanup(self.check_console)

    def check_console(self):
        """The policy refused nothing, and no script failed."""
        found = [line for line in self.browser.complaints()
                 if not any(re.search(one, line) for one in self.announced)]
        self.assertEqual(found, [])

    def stub(self, document):
        """Opens the page with a made-up answer, and waits until the page shows it."""
        served = stub.Stub(document)
        self.addCleanup(served.close)
        self.addCleanup(self.browser.open, 'about:blank')
        self.browser.open(served.address)
        self.wait(lambda: self.text('#link').startswith('live'), lambda: self.text('#link'))
        return served

    def page(self, *pools):
        """Opens the page of a daemon that has these pools, and one of the status handler."""
        self.port = daemon.reserve_port(self)
        it = self.start(STATUS % self.port + ''.join(pools))
        self.addCleanup(self.browser.open, 'about:blank')
        self.browser.open(f'http://127.0.0.1:{self.port}/')
        self.wait(lambda: self.names(), 'pools on the page')
        return it

    def wait(self, condition, what):
        return wait_until(condition, what)

    def run_in(self, script, *arguments):
        return self.browser.run(script, *arguments)

    def text(self, selector):
        return self.run_in('return document.querySelector(arguments[0])?.textContent.trim() ?? ""',
                           selector)

    def texts(self, selector):
        return self.run_in('return [...document.querySelectorAll(arguments[0])].filter(one => '
                           'one.checkVisibility()).map(one => one.textContent.trim())', selector)

    def names(self):
        return self.texts('.pool [data-name]')

    def card(self, name, selector):
        """Returns a selector for an element in a pool's card."""
        number = self.run_in('return [...document.querySelectorAll(".pool")].find(one => one'
                             '.querySelector("[data-name]").textContent === arguments[0]).id', name)
        return f'#{number} {selector}'

    def answers(self, served, count=1):
        """Waits until the page has shown `count` more answers."""
        before = served.requests
        self.wait(lambda: served.requests > before + count, 'further requests')

    def focused(self):
        return self.run_in('const one = document.activeElement; return one.id || one.className '
                           '|| one.tagName')


class Daemon(Case):
    """With the daemon itself."""

    def test_loads(self):
        it = self.page(ECHO % 3)
        self.assertEqual(self.names(), ['status', 'echo'])
        facts = ' '.join(self.texts('#daemon div'))
        self.assertIn(f'pid {it.pid}', facts)
        self.assertIn(self.text('#release'), self.run_preforkd('-V').stdout)
        self.assertIn('Last reloadnone', facts)
        self.assertEqual(self.text('#look'), '2 pools, none in trouble')
        legend = self.card('status', '.legend')  # one worker is busy with the request itself
        self.wait(lambda: '1 busy' in self.text(legend), lambda: self.text(legend))
        self.assertIn(it.address('echo')[0], self.text(self.card('echo', '[data-listeners]')))
        loaded = self.run_in('return performance.getEntriesByType("resource").map(one => one.name)')
        self.assertEqual(set(loaded), {f'http://127.0.0.1:{self.port}/status.json'})
        self.assertIn(2000, self.run_in('return window.delays'))

    def test_busy_and_idle_again(self):
        it = self.page(ECHO % 2)
        legend, told = (self.card('echo', one) for one in ('.legend', '.told'))
        self.assertIn('2 idle', self.text(legend))
        held = it.connect('echo')
        client.echo(held, b'x')
        self.wait(lambda: '1 busy' in self.text(legend), lambda: self.text(legend))
        box = self.run_in('const box = document.querySelector(arguments[0])'
                          '.getBoundingClientRect(); return [box.x, box.y]',
                          self.card('echo', '.seats'))
        seen = set()
        for seat in (0, 1):
            self.browser.point(box[0] + 8 + seat * 22, box[1] + 8)
            seen.add(self.text(told))
        busy = next(text for text in seen if ': busy for ' in text)
        host, port = held.getsockname()
        self.assertIn(f'peer {host}:{port}', busy)
        self.assertIn(int(re.search(r'pid (\d+)', busy)[1]), it.workers())
        self.assertIn(f'{host}:{port}', self.text(self.card('echo', '.held')))
        held.close()
        self.wait(lambda: '0 busy' in self.text(legend), lambda: self.text(legend))
        self.assertEqual(self.texts(self.card('echo', '.held p')), ['No worker is busy.'])

    def test_ledger(self):
        it = self.page(ECHO % 2)
        self.assertEqual(self.texts('#nobody'), ['None is in the ledger.'])
        it.announce('killed by signal 9')
        worker = it.workers('echo')[0]
        it.kill(9, worker)
        self.wait(lambda: self.texts('#ledger tbody tr'), 'an entry')
        cells = self.texts('#ledger tbody tr:first-child td')
        self.assertEqual(cells[1:3], ['echo', str(worker)])
        self.assertIn('killed by signal 9 (Killed)', cells[3])
        self.assertEqual(self.text('#deaths-count'), '1 since the start')

    def test_last_line_of_standard_error_is_text(self):
        script = "echo '<img src=x onerror=window.hit=1><b id=bold>' >&2; read line"
        it = self.page(daemon.shell(script))
        it.announce('killed by signal 9')
        held = it.connect('x')
        self.addCleanup(held.close)
        it.wait_for_log('<b id=bold>')
        worker = it.workers('x')[0]
        it.kill(9, worker)
        self.wait(lambda: '<b id=bold>' in self.text('#ledger .last'), 'its last line')
        self.assertFalse(self.run_in('return window.hit || document.querySelector("img, #bold")'))

    def test_slow(self):
        it = self.page('slow_threshold = 1\n', daemon.shell('read line; sleep 1000'))
        it.announce('slow|killed|told to stop')
        held = it.connect('x')
        held.sendall(b'x\n')
        legend = self.card('x', '.legend')
        self.wait(lambda: '1 slow' in self.text(legend), lambda: self.text(legend))
        self.assertRegex(self.text(self.card('x', '.held')),
                         r'slow: sh \d+, sleeping, .*children: sleep \d+ sleeping')
        self.assertIn('x: full, all 1 busy, 1 slow', self.text('#look'))
        held.close()
        self.browser.open('about:blank')  # so that no request goes to a daemon that has ended
        it.kill(3)
        it.exited()

    def test_a_refused_reload_is_shown(self):
        it = self.page(ECHO % 1)
        it.announce(wording.REFUSED, wording.FAULT)
        it.reload('nonsense = 1\n' + STATUS % self.port, refused=True)
        self.wait(lambda: self.texts('#daemon .bad'), 'why it was refused')
        self.assertRegex(self.texts('#daemon .bad')[0], r'^failed, .*preforkd.conf:1: ')

    def test_gone_and_back(self):
        it = self.page(ECHO % 2)
        self.announced.append(r'status\.json.* Failed to load resource|ERR_CONNECTION')
        it.stop()
        self.wait(lambda: self.text('#link').startswith('No answer since '),
                  lambda: self.text('#link'))
        self.assertIn('No answer since', self.text('#say'))
        # Its last answer may have come when the other pool had stopped.
        self.assertIn('status', self.names())
        self.assertTrue(self.run_in('return document.body.classList.contains("stale")'))
        again = self.start(STATUS % self.port + ECHO % 4)
        self.wait(lambda: self.text('#link').startswith('live'), lambda: self.text('#link'))
        self.assertIn(f'pid {again.pid}', self.text('#daemon'))
        self.assertFalse(self.run_in('return document.body.classList.contains("stale")'))
        self.wait(lambda: '4 idle' in self.text(self.card('echo', '.legend')), 'its four workers')


class Made_up(Case):
    """With answers that a daemon can't be forced to give."""

    def test_every_text_is_text(self):
        def spoil(value):
            if isinstance(value, dict):
                return {key: spoil(one) for key, one in value.items()}
            if isinstance(value, list):
                return [spoil(one) for one in value]
            return value + HOSTILE if isinstance(value, str) else value
        made = spoil(Made(few(), [death(n, time.time()) for n in (1, 2, 3)], host='web1')())
        for worker in (one for pool in made['pools'] for one in pool['workers']):
            worker['state'] = worker['state'].replace(HOSTILE, '')
        self.stub(made)
        self.assertFalse(self.run_in('return window.hit || document.querySelector("img")'))
        self.assertIn('<img src=x', self.text('#ledger'))
        self.assertIn('<img src=x', self.text('h1'))
        self.assertIn('<img src=x', self.text('.trouble:not([hidden])'))
        self.assertEqual(self.run_in('return document.scripts.length'), 1)

    def test_what_is_missing_or_odd(self):
        """Each pool lacks a different key, or has a value of the wrong kind."""
        sound = Made([Pool('web', 3, slow=1, dead=1, templates=True)], [death(1, time.time())])()
        keys = list(sound['pools'][0])
        odd = []
        values = (None, 'text', -1, [None, 'text', []], {'buckets': [[None]]})
        for at, key in enumerate(keys):
            for value in (values[at % 5], values[(at + 3) % 5]):
                odd.append({**sound['pools'][0], 'name': f'pool {len(odd)}', key: value})
        for nested in ('workers', 'listeners'):
            for key in sound['pools'][0][nested][0]:
                changed = copy.deepcopy(sound['pools'][0])
                del changed[nested][0][key]
                changed[nested][-1][key] = ['odd']
                odd.append(changed)
        served = self.stub({**sound, 'pools': odd + [{}, None, 7]})
        self.assertEqual(len(self.names()), len(odd) + 3)
        for key in sound:
            for value in (None, 'text', [[]]):
                served.document = {**sound, key: value}
                self.answers(served)
                self.assertRegex(self.text('#link'), '^live')

    def test_invalid_answers(self):
        served = self.stub(Made(few()))
        self.announced.append('Failed to load resource')
        for document, status, what in (('<html>', 200, 'no JSON'), ('{}', 503, '503')):
            served.document, served.status = document, status
            self.wait(lambda: what in self.text('#link'), lambda: self.text('#link'))
        self.assertEqual(len(self.names()), len(few()))
        served.document, served.status = Made(few()), 200
        self.wait(lambda: self.text('#link').startswith('live'), lambda: self.text('#link'))

    def test_figures_are_right(self):
        """50 connections in 2 s: 25/s; all between 1 and 2.5 ms, so the quantiles lie there."""
        def next_answer():
            answer['uptime'] += 2
            answer['pools'][0]['accepted'] += 50
            answer['pools'][0]['refused']['denied'] += 1
            pool.service.add(.002, 50)
            answer['pools'][0]['service_time'] = pool.service.as_json()
            return answer
        pool = Pool('web', 2, rate=0)
        answer = Made([pool])()
        served = self.stub(next_answer)
        self.answers(served, 3)
        fields = {key: self.text(self.card('web', f'[data-{key}]'))
                  for key in ('rate', 'p50', 'p99')}
        self.assertEqual(fields, {'rate': '25', 'p50': '1.8 ms', 'p99': '2.5 ms'})
        alternatives = self.run_in('return [...document.querySelectorAll(".plot svg")]'
                                   '.map(one => one.getAttribute("aria-label"))')
        self.assertRegex(alternatives[0], r'^Connections per second, plot of the last minute: '
                                          r'now 25/s, lowest 25/s, highest 25/s$')
        self.assertRegex(alternatives[1], r'p50 now 1\.8 ms, .*p99 now 2\.5 ms, ')
        # The daemon starts again: no rate is negative, and the line has a gap.
        answer['uptime'], answer['pools'][0]['accepted'] = 0., 7
        pool.service = type(pool.service)()
        self.answers(served, 4)
        self.assertEqual(self.text(self.card('web', '[data-rate]')), '25')
        line = self.run_in('return document.querySelector(".plot .first").getAttribute("d")')
        self.assertEqual(line.count('M'), 2, line)

    def test_templates(self):
        """Shown if a pool has them; without their memory if the daemon doesn't report it."""
        answer = Made([Pool('web', 2, templates=True), Pool('git', 2)])()
        served = self.stub(answer)
        counts = r'Templates\s*1,234 forks, 5 cold starts, 1 restart'
        self.assertRegex(self.text(self.card('web', '.figures')), counts + '; 17.2 MiB')
        self.assertNotIn('Templates', self.text(self.card('git', '.figures')))
        del answer['pools'][0]['templates']['memory']
        self.answers(served)
        self.assertRegex(self.text(self.card('web', '.figures')), counts + '$')

    def test_many_pools_fold_and_filter(self):
        pools = [Pool(f'site{n:02}', 3, rate=1, address=f'192.0.2.1:{9000 + n}')
                 for n in range(100)]
        pools[17].more['state'] = 'degraded'
        served = self.stub(Made(pools))
        opened = '.fold[aria-expanded=true] [data-name]'
        self.assertEqual(self.texts(opened), ['site17'])
        self.assertEqual(self.text('#shown'), '100 pools')
        self.browser.type('#filter', '9042')
        self.wait(lambda: self.names() == ['site42'], self.names)
        self.assertEqual(self.text('#shown'), '1 of 100 pools')
        self.browser.click('.pool:not([hidden]) .fold')
        self.assertEqual(self.texts(opened), ['site42'])
        self.answers(served, 2)
        self.assertEqual(self.texts(opened), ['site42'])
        self.browser.click('#look a')
        self.assertEqual(self.focused(), 'fold')
        self.assertEqual(len(self.names()), 100)
        self.run_in('scrollTo(0, 0)')
        self.browser.click('#fold')
        self.assertEqual(len(self.texts(opened)), 100)

    def test_keyboard(self):
        served = self.stub(Made(few()[:2], [death(n, time.time()) for n in range(1, 20)]))
        seen = []
        for _ in range(40):
            self.browser.press('Tab')
            seen.append(self.focused())
            if seen[-1] == 'BODY':
                break
            style = self.run_in('const style = getComputedStyle(document.activeElement);'
                                'return [style.outlineStyle, parseFloat(style.outlineWidth)]')
            self.assertNotEqual(style[0], 'none', seen[-1])
            self.assertGreaterEqual(style[1], 1, seen[-1])
            if seen[-1].endswith('-seats'):
                self.check_grid(served)
        for one in ('fold', 'filter', 'pool-0-seats', 'pool-1-seats', 'more', 'SUMMARY'):
            self.assertIn(one, seen)
        self.assertEqual(len(seen), len(set(seen)) + seen.count('A') - 1 + seen.count('fold') - 1
                         + seen.count('SUMMARY') - 1, seen)

    def check_grid(self, served):
        """In the focused grid, arrows move from cell to cell, and an answer moves nothing."""
        cell = ('const grid = document.activeElement, at = document.getElementById('
                'grid.getAttribute("aria-activedescendant"));'
                'return [at.textContent, +at.parentElement.getAttribute("aria-rowindex"), '
                '+at.getAttribute("aria-colindex"), '
                'grid.parentElement.querySelector(".told").textContent]')
        first = self.run_in(cell)
        self.assertEqual(first[1:3], [1, 1])
        self.browser.press('Right')
        second = self.run_in(cell)
        self.assertEqual(second[1:3], [1, 2])
        self.assertNotEqual(first[0].split(':')[0], second[0].split(':')[0])
        self.assertEqual(second[3], second[0])
        where = self.focused(), self.run_in('return scrollY')
        self.answers(served, 2)
        self.assertEqual((self.focused(), self.run_in('return scrollY')), where)
        self.assertEqual(self.run_in(cell)[1:3], [1, 2])
        self.browser.press('Left')
        self.browser.press('End')
        self.assertEqual(self.run_in(cell)[1], 1)
        self.browser.press('Home')

    def test_accessibility_tree(self):
        made = Made(few(), [death(n, time.time()) for n in range(1, 20)])
        served = self.stub(made)
        self.answers(served)
        nodes = self.browser.tree()
        controls = ('button', 'link', 'checkbox', 'searchbox', 'textbox', 'grid', 'image', 'img',
                    'table', 'heading', 'article', 'DisclosureTriangle')
        nameless = [role for role, name, _ in nodes if role in controls and not name]
        self.assertEqual(nameless, [])
        roles = {role for role, _, _ in nodes}
        for role in ('banner', 'main', 'contentinfo', 'navigation', 'search', 'status', 'grid',
                     'columnheader', 'gridcell'):
            self.assertIn(role, roles)
        images = named(nodes, 'image') + named(nodes, 'img')
        plots = [one for one in images if 'plot of the last' in one]
        self.assertEqual(len(plots), 2 * (len(few()) - 1), 'two for each pool but the app')
        self.assertIn('Workers of pool web', named(nodes, 'grid'))
        levels = [next(value['value']['value'] for value in node['properties']
                       if value['name'] == 'level') for role, _, node in nodes if role == 'heading']
        self.assertEqual(levels[0], 1)
        self.assertTrue(all(after <= before + 1 for before, after in zip(levels, levels[1:])))
        live = [node for _, _, node in nodes for value in node.get('properties', ())
                if value['name'] == 'live' and value['value']['value'] != 'off'
                and not any(one['name'] == 'root' and one['value'].get('relatedNodes')
                            for one in node['properties'])]
        self.assertLessEqual(len(live), 8, 'live regions are few')

    def test_a_change_is_announced_once(self):
        pools = few()[:2]
        served = self.stub(Made(pools))
        self.answers(served)
        self.assertEqual(self.text('#say'), '')
        pools[0].more['state'] = 'full'
        self.wait(lambda: self.text('#say') == 'Pool web is full.', lambda: self.text('#say'))

    def test_fits_a_telephone(self):
        self.browser.resize(360, 740)
        made = Made(few(), [death(n, time.time()) for n in (1, 2, 3)])()
        made['pools'][0]['name'] = 'a-pool-with-a-name-as-long-as-may-be-it-i'
        made['pools'][0]['listeners'][0]['address'] = 'unix:/' + 'very-long' * 11
        made['reloads']['refusal'] = '/' + 'x' * 140
        self.stub(made)
        self.run_in('document.querySelectorAll(".fold[aria-expanded=false]").forEach(one => '
                    'one.click())')
        self.assertLessEqual(self.run_in('return document.documentElement.scrollWidth'), 360)

    def test_contrast(self):
        self.stub(Made(few(), [death(n, time.time()) for n in (1, 2, 3)])())
        for scheme in ('light', 'dark'):
            self.browser.media(prefers_color_scheme=scheme)
            self.assertEqual(self.run_in(CONTRAST), [], scheme)

    def test_nothing_moves(self):
        """A change moves no other element."""
        served = self.stub(Made(few()))
        self.answers(served)
        self.run_in('window.moved = []; new PerformanceObserver(seen => '
                    'window.moved.push(...seen.getEntries().map(one => one.value)))'
                    '.observe({type: "layout-shift"});')
        self.answers(served, 6)
        self.assertLess(sum(self.run_in('return window.moved')), .01)

    def test_hidden_it_makes_no_request(self):
        served = self.stub(Made(few()[:2]))
        here = self.browser.command('GET', '/window')
        other = self.browser.command('POST', '/window/new', {'type': 'tab'})['handle']
        self.browser.command('POST', '/window', {'handle': other})
        try:
            time.sleep(.3)  # a request may still be on its way
            before = served.requests
            time.sleep(.6)  # long enough for five requests
            self.assertEqual(served.requests, before)
        finally:
            self.browser.command('DELETE', '/window')
            self.browser.command('POST', '/window', {'handle': here})
        self.wait(lambda: served.requests > before, 'a request')

    def test_bench_of_1000_workers(self):
        """Judges only the order of magnitude: the limit is twenty times the target."""
        served = self.stub(Made([Pool('web', 1000, rate=900, busy=.5, slow=2, retiring=20)]))
        times = []
        self.run_in('window.frames_ = []; new PerformanceObserver(seen => window.frames_.push('
                    '...seen.getEntries().map(one => one.duration)))'
                    '.observe({type: "long-animation-frame"});')
        self.browser.devtools('Performance.enable', timeDomain='threadTicks')
        before = self.metrics()
        for _ in range(20):
            self.answers(served)
            times.append(self.run_in('return performance.getEntriesByName("redraw")[0].duration'))
        spent = {key: value - before[key] for key, value in self.metrics().items()}
        times.sort()
        rest = (spent['LayoutDuration'] + spent['RecalcStyleDuration']) * 1e3 / len(times)
        print(f'bench: 1000 workers: redraw median {times[len(times) // 2]:.1f} ms, longest '
              f'{times[-1]:.1f} ms; style and layout {rest:.1f} ms a redraw; frames over 50 ms: '
              f'{self.run_in("return window.frames_")}')
        self.assertLess(times[-1], 1000)

    def metrics(self):
        return {one['name']: one['value'] for one in
                self.browser.devtools('Performance.getMetrics')['metrics']}


if __name__ == '__main__':
    if browser.missing():
        print(f'skipped: no {browser.missing()} here')
        sys.exit(77)
    daemon.main()
