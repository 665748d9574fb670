"""One HTML page out of plain values: text goes in as it is and is escaped here, and only here.

The page needs nothing else: pictures are data URIs, styles lie inside, nothing runs, and its policy lets nothing be
fetched.
"""

import base64
import html
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ._text import clean

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"

STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --ink: #1b1b1f; --soft: #5a5a64; --line: #dcdce2; --link: #0a5dae }
@media (prefers-color-scheme: dark) {
  :root { --ground: #16171a; --ink: #ececf0; --soft: #a3a3ae; --line: #36373d; --link: #7db8f5 }
}
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100% }
body { margin: 0 auto; max-width: 74rem; padding: 1rem clamp(1rem, 4vw, 2.5rem) 3rem; background: var(--ground);
  color: var(--ink); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0 0.25rem }
h2 { font-size: 1.2rem; margin: 0 0 0.5rem }
p { margin: 0 0 0.75rem; max-width: 46rem }
a { color: var(--link) }
nav { margin: 1rem 0 0; border-block: 1px solid var(--line); padding: 0.5rem 0 }
nav ul { display: flex; flex-wrap: wrap; gap: 0.1rem 1.1rem; margin: 0; padding: 0; list-style: none }
nav a { display: inline-block; padding: 0.25rem 0 }
section { margin-top: 2.25rem }
.figures { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)) }
figure { margin: 0; min-width: 0; max-width: 36rem }
img { display: block; max-width: 100%; height: auto }
figcaption { color: var(--soft); font-size: 0.875rem; margin-bottom: 0.4rem }
table { border-collapse: collapse; width: 100%; max-width: 46rem; font-size: 0.9375rem; margin-bottom: 0.75rem }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.75rem 0.3rem 0; text-align: left; vertical-align: top }
th { width: 38%; min-width: 7rem; font-weight: 500; color: var(--soft) }
.wide { overflow-x: auto; margin-bottom: 0.75rem }
.grid { width: auto; overflow-wrap: normal; font-variant-numeric: tabular-nums }
.grid th, .grid td { width: auto; min-width: 1.75rem; padding: 0.2rem 0.3rem; text-align: right; white-space: nowrap }
.grid .own { font-weight: 600; background: color-mix(in srgb, var(--link) 14%, transparent) }
"""


@dataclass(frozen=True)
class Picture:
    """A PNG file for light and one for dark pages, and what they show."""

    caption: str
    light: bytes
    dark: bytes


@dataclass(frozen=True)
class Section:
    """A part of the page: text, then pictures, then names with values."""

    title: str
    notes: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    facts: Sequence[tuple[str, object]] = ()
    grid: Sequence[Sequence[str]] = ()  # a table with names in its first row and column


def page(title: str, lead: str, sections: Sequence[Section]) -> str:
    """Return the whole page."""
    body = "".join(_section(number, section) for number, section in enumerate(sections, 1))
    links = "".join(f'<li><a href="#s{n}">{escape(s.title)}</a></li>' for n, s in enumerate(sections, 1))
    nav = f'<nav aria-label="Sections"><ul>{links}</ul></nav>'
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{html.escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>{escape(title)}</h1>\n<p>{escape(lead)}</p>\n{nav}\n"
        f"</header>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )


def escape(value: object) -> str:
    """Return text that a page only shows: one line, nothing invisible, no markup."""
    return html.escape(clean(value), quote=True)


def _section(number: int, section: Section) -> str:
    notes = "".join(f"<p>{escape(note)}</p>\n" for note in section.notes)
    pictures = "".join(_figure(picture, section.title) for picture in section.pictures)
    figures = f'<div class="figures">\n{pictures}</div>\n' if pictures else ""
    return (
        f'<section id="s{number}" aria-labelledby="h{number}">\n<h2 id="h{number}">{escape(section.title)}</h2>\n'
        f"{notes}{_table(section.facts)}{_grid(section.grid)}{figures}</section>\n"
    )


def _grid(rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in rows[0])
    body = "".join(_grid_row(number, row) for number, row in enumerate(rows[1:], 1))
    return f'<div class="wide"><table class="grid">\n<tr>{head}</tr>\n{body}</table></div>\n'


def _grid_row(number: int, row: Sequence[str]) -> str:
    """Return a row; the cell on the diagonal is marked."""
    cells = "".join(
        f"<td{' class=' + chr(34) + 'own' + chr(34) if i == number else ''}>{escape(value)}</td>"
        for i, value in enumerate(row[1:], 1)
    )
    return f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>\n'


def _figure(picture: Picture, title: str) -> str:
    width, height = size_of_png(picture.light)
    dark = ""
    if picture.dark != picture.light:
        dark = f'<source media="(prefers-color-scheme: dark)" srcset="{_uri(picture.dark)}">'
    alt = escape(f"{title}: {picture.caption}")
    image = f'<img src="{_uri(picture.light)}" width="{width}" height="{height}" alt="{alt}">'
    return f"<figure><figcaption>{escape(picture.caption)}</figcaption><picture>{dark}{image}</picture></figure>\n"


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode('ascii')}"


def size_of_png(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG file, which begin its first chunk."""
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def _table(facts: Iterable[tuple[str, object]]) -> str:
    rows = "".join(f'<tr><th scope="row">{escape(n)}</th><td>{escape(v)}</td></tr>\n' for n, v in facts)
    return f"<table>\n{rows}</table>\n" if rows else ""
