"""A headless Chromium, driven over chromedriver by the WebDriver protocol.

Run as a program, this is the parent of all processes of a browser, so that the tests can
distinguish them from what a daemon leaves behind. It ends them when its standard input ends.
"""

import base64
import contextlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '../behaviour'))

import processes

PATIENCE = 60  # seconds that a command, or an event in the page, may take
ELEMENT = 'element-6066-11e4-a52e-4f735466cecf'  # the protocol's name for a reference
KEYS = {'Tab': '\ue004', 'Enter': '\ue007', 'Escape': '\ue00c', 'End': '\ue010', 'Home': '\ue011',
        'Left': '\ue012', 'Up': '\ue013', 'Right': '\ue014', 'Down': '\ue015', 'Shift': '\ue008'}

# It runs as root, and connects to no server but the page's.
SWITCHES = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync',
            '--disable-dev-shm-usage', '--disable-default-apps', '--disable-extensions',
            '--no-proxy-server', '--hide-scrollbars', '--lang=en']


def missing():
    """Returns a program that is not installed here, or None."""
    return next((name for name in ('chromium', 'chromedriver') if not shutil.which(name)), None)


class Browser:
    def __init__(self, size=(1280, 900)):
        self.home = tempfile.mkdtemp(prefix='preforkd-browser-')
        environment = os.environ | {'HOME': self.home}
        self.child = subprocess.Popen([sys.executable, '-B', os.path.abspath(__file__)], text=True,
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      env=environment, start_new_session=True)
        processes.OURS.add(self.child.pid)
        self.session = None
        try:
            self.port = self._port()
            switches = SWITCHES + [f'--user-data-dir={self.home}/profile',
                                   f'--window-size={size[0]},{size[1]}']
            self.session = self._ask('POST', '/session', {'capabilities': {'alwaysMatch': {
                'goog:chromeOptions': {'args': switches, 'binary': shutil.which('chromium')},
                'goog:loggingPrefs': {'browser': 'ALL'}}}})['sessionId']
        except BaseException:
            self.close()
            raise

    def _port(self):
        """Reads the pipe without a buffer, because select() doesn't see what lies in a buffer."""
        deadline, output = time.monotonic() + PATIENCE, b''
        while select.select([self.child.stdout], [], [], max(deadline - time.monotonic(), 0))[0]:
            piece = os.read(self.child.stdout.fileno(), 4096)
            output += piece
            if found := re.search(rb'started successfully on port (\d+)\D', output):
                return int(found[1])
            if not piece:
                break
        raise AssertionError(f'chromedriver does not start: {output}')

    def _ask(self, method, path, body=None):
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=PATIENCE)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {'Content-Type': 'application/json'})
            value = json.load(connection.getresponse())['value']
        finally:
            connection.close()
        if isinstance(value, dict) and 'error' in value:
            raise AssertionError(f'{path}: {value["error"]}: {value["message"]}')
        return value

    def command(self, method, path, body=None):
        return self._ask(method, f'/session/{self.session}{path}', body)

    def close(self):
        if self.session:
            self.command('DELETE', '')
        self.child.stdin.close()
        self.child.wait(PATIENCE)
        self.child.stdout.close()
        processes.OURS.discard(self.child.pid)
        shutil.rmtree(self.home, ignore_errors=True)

    # -- for the tests

    def open(self, address):
        self.command('POST', '/url', {'url': address})

    def run(self, script, *arguments):
        """Runs the body of a function in the page; returns its result."""
        return self.command('POST', '/execute/sync', {'script': script, 'args': list(arguments)})

    def devtools(self, command, **parameters):
        return self.command('POST', '/goog/cdp/execute', {'cmd': command, 'params': parameters})

    def resize(self, width, height, scale=1):
        self.devtools('Emulation.setDeviceMetricsOverride', width=width, height=height,
                      deviceScaleFactor=scale, mobile=False)

    def media(self, **features):
        """media(prefers_color_scheme='dark')"""
        self.devtools('Emulation.setEmulatedMedia', features=[
            {'name': name.replace('_', '-'), 'value': value} for name, value in features.items()])

    def press(self, *keys):
        """Presses keys one after the other, by name or as a character."""
        actions = []
        for key in keys:
            actions += [{'type': kind, 'value': KEYS.get(key, key)}
                        for kind in ('keyDown', 'keyUp')]
        self.command('POST', '/actions', {'actions': [{'type': 'key', 'id': 'k',
                                                       'actions': actions}]})

    def point(self, x, y, click=False):
        """Moves the mouse over a place of the window."""
        moves = [{'type': 'pointerMove', 'x': int(x), 'y': int(y), 'duration': 0}]
        if click:
            moves += [{'type': 'pointerDown', 'button': 0}, {'type': 'pointerUp', 'button': 0}]
        self.command('POST', '/actions', {'actions': [
            {'type': 'pointer', 'id': 'm', 'parameters': {'pointerType': 'mouse'},
             'actions': moves}]})

    def find(self, selector):
        found = self.command('POST', '/element', {'using': 'css selector', 'value': selector})
        return found[ELEMENT]

    def click(self, selector):
        self.command('POST', f'/element/{self.find(selector)}/click', {})

    def type(self, selector, text):
        self.command('POST', f'/element/{self.find(selector)}/value', {'text': text})

    def complaints(self):
        """Returns what was written to the console since the last call."""
        return [entry['message'] for entry in self.command('POST', '/se/log', {'type': 'browser'})]

    def tree(self):
        """Returns the accessibility tree without ignored nodes: [(role, name, node), ...]"""
        nodes = self.devtools('Accessibility.getFullAXTree')['nodes']
        return [(node['role']['value'], node.get('name', {}).get('value', ''), node)
                for node in nodes if not node.get('ignored') and 'role' in node]

    def picture(self, path, whole=True):
        shot = self.devtools('Page.captureScreenshot', captureBeyondViewport=whole)
        with open(path, 'wb') as file:
            file.write(base64.b64decode(shot['data']))


def run_driver():
    processes.become_subreaper()
    with subprocess.Popen(['chromedriver', '--port=0'], stdin=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as driver:
        sys.stdin.read()
        driver.terminate()
    for pid in processes.descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == '__main__':
    run_driver()
