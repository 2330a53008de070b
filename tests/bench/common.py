"""Shared by the benches besides `run`: its servers, its load, and the order of measurements."""

import argparse
import ctypes
import importlib.machinery
import importlib.util
import json
import math
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


def module(name):
    """Loads a program of this folder, whose name has no .py."""
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / name))
    made = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = made
    loader.exec_module(made)
    return made


sys.dont_write_bytecode = True
run = module("run")


def parser_make(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=pathlib.Path("build"),
                        help="meson's build directory (build)")
    for name in ("daemon", "floor", "load"):
        parser.add_argument(f"--{name}", type=pathlib.Path, help=f"the {name}, if not BUILD's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="short: do the figures come out?")
    return parser


def options_parse(parser):
    options = parser.parse_args()
    places = {"daemon": "src/preforkd", "floor": "tests/bench/floor", "load": "tests/bench/load"}
    for name, place in places.items():
        path = (getattr(options, name) or options.build / place).absolute()
        setattr(options, name, path)
        if not os.access(path, os.X_OK):
            parser.error(f"{path}: not there, or not executable")
    return options


def load_run(options, port, seconds):
    command = [str(options.load), "-t", str(seconds), str(port)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        raise run.BenchError(f"{' '.join(command)}: {done.stdout.decode()}")
    return json.loads(done.stdout)


def interval(values):
    """The interval that holds the true median in 95 of 100 cases, by the sign test, which assumes
    nothing about the values. With too few values, their whole range."""
    values = sorted(values)
    count, tail, cut = len(values), 0.0, 0
    while cut < count // 2:
        tail += math.comb(count, cut) / 2 ** count
        if tail > 0.025:
            break
        cut += 1
    at = max(cut - 1, 0)
    return values[at], values[count - 1 - at]


def report(rows):
    """rows: (title, figure with its unit, ratio or None, its bound or None, whether the bound is
    met)."""
    for title, figure, ratio, bound, met in rows:
        shown = f"{ratio:8.2f}" if ratio is not None else ""
        print(f"{title:52}{figure:>14}{shown:8}{bound or '':>10}{'' if met else '  missed'}")


def main(bench, options):
    """bench(options, scratch) yields the rows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: told to stop"))
    ctypes.CDLL(None).prctl(run.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryDirectory(prefix="preforkd-bench-") as scratch:
        try:
            rows = list(bench(options, pathlib.Path(scratch)))
        except run.BenchError as error:
            sys.exit(f"bench: {error}")
    report(rows)
