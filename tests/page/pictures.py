"""Takes pictures of the page, for a person to look at.

usage: pictures.py DIRECTORY [STATE ...]
       pictures.py --readme: the two beside this file, which README.md shows

There is a picture of each state of `made_up`, light and dark, on a desktop and a telephone: one of
what the window shows at first, and one of the whole page, with `-whole` in its name. `stale` is the
page after the daemon has stopped.
"""

import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../behaviour'))

import stub
from browser import Browser
from made_up import STATES, Made, death
from processes import wait_until

SIZES = {'desktop': (1280, 900), 'phone': (360, 740)}
README = {'light': 'status-light.png', 'dark': 'status-dark.png'}
README_SIZE = (1280, 823)
WARM_UP = 4  # seconds: a line in the plots needs some answers


def link_text(browser):
    return browser.run('return document.querySelector("#link").textContent.trim()')


def take(browser, directory, state, size):
    for scheme in ('light', 'dark'):
        browser.media(prefers_color_scheme=scheme)
        browser.run('scrollTo(0, 0)')
        time.sleep(.3)  # until it is laid out anew
        for whole in (False, True):
            name = f'{state}-{size}-{scheme}{"-whole" if whole else ""}.png'
            browser.picture(os.path.join(directory, name), whole)


def take_for_readme():
    browser = Browser()
    served = stub.Stub(Made(STATES['every'](), speed=5, host='web1'))
    browser.resize(*README_SIZE)
    browser.open(served.address)
    wait_until(lambda: link_text(browser).startswith('live'), 'an answer')
    time.sleep(10 * WARM_UP)
    for scheme, name in README.items():
        browser.media(prefers_color_scheme=scheme)
        time.sleep(.3)
        browser.picture(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), False)
    served.close()
    browser.close()


def main():
    if sys.argv[1:] == ['--readme']:
        take_for_readme()
        return
    directory, *states = sys.argv[1:]
    os.makedirs(directory, exist_ok=True)
    browser = Browser()
    for state in states or [*STATES, 'stale']:
        deaths = [death(n, time.time()) for n in range(1, 21)] if state != 'idle' else []
        pools = STATES['every' if state == 'stale' else state]()
        for size, measures in SIZES.items():
            served = stub.Stub(Made(pools, deaths, speed=5, host='web1'))
            browser.resize(*measures)
            browser.open(served.address)
            wait_until(lambda: link_text(browser).startswith('live'), 'an answer')
            time.sleep(WARM_UP)
            if state == 'stale':
                served.status = 503
                wait_until(lambda: link_text(browser).startswith('No answer'), 'a stale page')
            take(browser, directory, state, size)
            served.close()
    browser.close()


main()
