#!/usr/bin/env python3
"""status_page.py PAGE.html: writes status_page.h: the page, and its Content-Security-Policy.

The policy allows the page's own scripts and styles by their hashes. Anything else that gets into
the page does not run.
"""

import base64
import hashlib
import re
import sys

WIDTH = 24


def hashes(page, element):
    bodies = re.findall(rb'<%s\b[^>]*>(.*?)</%s>' % (element, element), page, re.S)
    found = [base64.b64encode(hashlib.sha256(body).digest()).decode() for body in bodies]
    return ' '.join(f"'sha256-{digest}'" for digest in found) or "'none'"


def policy(page):
    return '; '.join([
        "default-src 'none'",
        f'script-src {hashes(page, b"script")}',
        f'style-src {hashes(page, b"style")}',
        "connect-src 'self'",
        'img-src data:',
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ])


def main():
    with open(sys.argv[1], 'rb') as file:
        page = file.read()
    markup = re.sub(rb'<(script|style)\b.*?</\1>', b'', page, flags=re.S)
    for attribute in re.findall(rb'\s(?:on\w+|style)\s*=', markup):
        sys.exit(f'{sys.argv[1]}: {attribute.decode().strip()} has no effect under the policy')
    print(f'static const char status_page_policy[] = "{policy(page)}";')
    print(f'static const size_t status_page_size = {len(page)};')
    print('static const char status_page[] = {')
    for at in range(0, len(page), WIDTH):
        print('    ' + ','.join(f'(char){byte}' if byte > 127 else str(byte)
                                for byte in page[at:at + WIDTH]) + ',')
    print('};')


main()
