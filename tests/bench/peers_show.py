"""The figures of `peers` as README's table and picture."""

import html
import os
import pathlib
import platform
import re
import statistics
import time

import common

README = common.HERE.parent.parent / "README.md"
PICTURE = common.HERE / "peers.svg"
BEGIN, END = "<!-- peers: written by tests/bench/peers --write -->", "<!-- end of peers -->"
HEAD = ["server", "a second", "preforkd", "CPU, us", "p99, ms", "burst, ms", "kill, ms",
        "lost: reload", "lost: upgrade", "PSS, MB"]


def middle(figures, name):
    values = [value for value in figures.get(name, []) if value is not None]
    return statistics.median(values) if values else None


def number(value):
    if value is None:
        return "–"
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}".replace(",", " ")


def lost(peer, figures, action):
    values = figures.get(f"{action}_lost", [])
    if not values:
        return "–"
    star = "" if getattr(peer, action) else " *"
    return f"{sum(values)}{star}"


def burst(figures):
    failed = sum(figures.get("burst_lost", []))
    return f"{failed} lost" if failed else number(middle(figures, "burst_ms"))


def respawn(figures):
    values = figures.get("respawn_ms")
    if values is None:
        return "–"
    return "never" if None in values else number(statistics.median(values))


def times(figures, ours):
    """The ratio of preforkd's rate to the peer's, in the rounds of both."""
    if figures is ours or not ours:
        return ""
    pairs = zip(ours["rate"], figures["rate"])
    return f"{statistics.median(mine / its for mine, its in pairs):.2f} ×"


def row(peer, figures, ours):
    if not figures:
        return [peer.name, "not here"] + [""] * (len(HEAD) - 2)
    name = f"**{peer.name}**" if peer.name == "preforkd" else peer.name
    return [name, number(middle(figures, "rate")), times(figures, ours),
            number(middle(figures, "cpu_us") if peer.reaps else None),
            number(middle(figures, "p99_ms")), burst(figures), respawn(figures),
            lost(peer, figures, "reload"), lost(peer, figures, "upgrade"),
            number(middle(figures, "pss_mb"))]


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    model = re.search(r"(?m)^(?:model name|Model|Hardware)\s*:\s*(.*)$", text)
    release = re.match(r"\d+\.\d+", platform.release())
    return (f"{model[1] if model else platform.machine()}, {os.cpu_count()} processors, "
            f"Linux {release[0]}, {time.strftime('%Y-%m-%d')}")


def table(kinds, every):
    def line(cells):
        return "| " + " | ".join(cells) + " |"
    lines = [line(HEAD), line(["---"] + ["---:"] * (len(HEAD) - 1))]
    for kind in kinds:
        lines.append(line([f"*{kind.what}*"] + [""] * (len(HEAD) - 1)))
        ours = every.get((kind.name, "preforkd"))
        lines += [line(row(peer, every.get((kind.name, peer.name)), ours)) for peer in kind.peers]
    return lines + ["", f"Measured on: {machine()}."]


# --- the picture ---

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.what { font-weight: 600 }
.number { fill: #59636e; font-variant-numeric: tabular-nums }
.other { fill: #afb8c1 }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc }
.number { fill: #9198a1 }
.other { fill: #59636e }
.ours { fill: #4493f8 }
}
"""
LEFT, WIDE, BAR, STEP = 220, 420, 14, 20


def bars(kind, every, top):
    """Draws one kind; returns the y coordinate below it."""
    found = {peer.name: middle(every[kind.name, peer.name], "rate") for peer in kind.peers
             if (kind.name, peer.name) in every}
    yield f'<text class="what" x="0" y="{top + 12}">{html.escape(kind.what)}</text>'
    for place, (name, rate) in enumerate(found.items()):
        y = top + STEP * (place + 1)
        wide = max(1, round(WIDE * rate / max(found.values())))
        yield (f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{html.escape(name)}</text>'
               f'<rect class="{"ours" if name == "preforkd" else "other"}" x="{LEFT}" y="{y + 1}" '
               f'width="{wide}" height="{BAR}" rx="2"/>'
               f'<text class="number" x="{LEFT + wide + 6}" y="{y + 12}">{number(rate)}</text>')


def picture(kinds, every):
    parts, top = [], 24
    parts.append('<text class="number" x="0" y="12">served a second, 16 clients; each group has '
                 'its own scale</text>')
    for kind in kinds:
        rows = sum((kind.name, peer.name) in every for peer in kind.peers)
        parts += bars(kind, every, top)
        top += STEP * (rows + 1) + 12
    title = "Connections served a second by preforkd and other servers"
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="720" height="{top}" '
            f'viewBox="0 0 720 {top}" role="img" aria-label="{title}">\n<title>{title}</title>\n'
            f'<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n")


def write(lines, kinds, every):
    text = README.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN)
    README.write_text(head + BEGIN + "\n" + "\n".join(lines) + "\n" + END + rest.split(END)[1],
                      encoding="utf-8")
    PICTURE.write_text(picture(kinds, every), encoding="utf-8")
