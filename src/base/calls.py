#!/usr/bin/env python3
"""Writes the names of the target machine's system calls, from the kernel's headers, as elements of
a C array by number: calls.py OUTPUT COMPILER..."""

import re
import subprocess
import sys

output, *compiler = sys.argv[1:]
text = subprocess.run([*compiler, '-E', '-dM', '-x', 'c', '-'], check=True, capture_output=True,
                      text=True, input='#include <asm/unistd.h>\n').stdout
values = dict(re.findall(r'(?m)^#define (__NR\w+) (\w+)$', text))
with open(output, 'w', encoding='ascii') as file:
    for name, value in sorted(values.items()):
        value = values.get(value, value)
        if name.startswith('__NR_') and value.isdigit() and int(value) < 1024:
            file.write(f'[{value}] = "{name[5:]}",\n')
