"""The frame of a page: one file that loads no font, script or style, for screens of any width, light or dark.

A page is made by `framed`. What stands in it is plain HTML: headings, paragraphs, `figure`, `table` and `folded`.
Nothing in it is a script: a figure opens large, and closes again, by links within the page.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape

_TAG = re.compile(r"<[^>]+>")
_HEADING = re.compile(r"<h([23])([^>]*)>(.*?)</h\1>", re.DOTALL)
_IMAGE = re.compile(r"<img\b[^>]*>", re.DOTALL)
_SECTIONS = 3  # a page of fewer has no contents


def framed(title: str, body: str, *, footer: str = "", links: Mapping[str, str] | None = None) -> str:
    """Return a whole HTML page.

    Parameters
    ----------
    title : str
        Plain text, for the browser's tab.
    body : str
        HTML. Its `<h2>` and `<h3>` get anchors and make the table of contents, which follows the `<h1>`. Each `<img>`
        becomes a link that shows it large.
    footer : str
        HTML for the end of the page, such as `made_by` of `lrp_dynamics.reports.footer` returns.
    links : mapping of str to str, optional
        Addresses and texts of related pages, shown below the `<h1>`: {"explorer.html": "Explorer"}. Addresses are
        relative to the page.

    Returns
    -------
    str
        The same text for the same arguments.

    Examples
    --------
    >>> page = framed("Maps & steps", "<h1>Maps</h1>" + figure("map.png", "a map", "What it shows."))
    >>> "<title>Maps &amp; steps</title>" in page, 'href="#large-1"' in page
    (True, True)
    """
    body, sections = _with_anchors(_with_large_figures(body))
    top = _related(links or {}) + _contents(sections)
    head, found, rest = body.partition("</h1>")
    body = f"{head}{found}{top}{rest}" if found else top + body
    if footer:
        body += f"\n<footer>{footer}</footer>"
    # Each alone: a title may look like the other place.
    before, middle, end = re.split(r"\{\{ \w+ \}\}", _FRAME)
    return f"{before}{escape(title)}{middle}{body}{end}"


def figure(source: str, alt: str, caption: str = "") -> str:
    """Return an image and its caption.

    Parameters
    ----------
    source : str
        Address of the image; for a page of one file, "data:image/png;base64,…".
    alt : str
        Plain text in place of the image.
    caption : str
        HTML.
    """
    below = f'\n<div class="caption">{caption}</div>' if caption else ""
    return f'<img src="{escape(source)}" alt="{escape(alt)}">{below}'


def table(header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """Return a table, which scrolls sideways where it is wider than the screen.

    Parameters
    ----------
    header : sequence of str
        Plain text.
    rows : sequence of sequences of str
        HTML of each cell.
    numeric : sequence of int
        Columns that are set flush right.
    """

    def line(tag: str, cells: Sequence[str]) -> str:
        style = [' class="number"' if i in numeric else "" for i in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{s}>{c}</{tag}>" for s, c in zip(style, cells, strict=True)) + "</tr>"

    body = "\n".join(line("td", row) for row in rows)
    head = line("th", [escape(name) for name in header])
    # With tabindex the keyboard scrolls it.
    return f'<div class="table" tabindex="0"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'


def folded(summary: str, body: str) -> str:
    """Return HTML that is out of sight until its summary, plain text, is clicked."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def _with_large_figures(body: str) -> str:
    """Put each image into a frame that fills the window while it is the target of the page's address."""
    number = 0

    def frame(found: re.Match) -> str:
        nonlocal number
        number += 1
        return (
            f'<div class="frame" id="figure-{number}"><div class="zoom" id="large-{number}">'
            f'<a class="close" href="#figure-{number}">Close</a>'
            f'<a class="enlarge" href="#large-{number}" title="Show large">{found[0]}</a></div></div>'
        )

    return _IMAGE.sub(frame, body)


def _with_anchors(body: str) -> tuple[str, list[tuple[int, str, str]]]:
    """Return the body with an anchor at each heading, and of each heading level, anchor and HTML."""
    sections: list[tuple[int, str, str]] = []

    def anchored(found: re.Match) -> str:
        level, text = int(found[1]), found[3]
        plain = unescape(_TAG.sub("", text)).lower()
        stem = re.sub(r"\W+", "-", plain).strip("-") or "section"
        taken = {anchor for _, anchor, _ in sections}
        anchor = next(name for name in (stem, *(f"{stem}-{k}" for k in range(2, len(taken) + 3))) if name not in taken)
        sections.append((level, anchor, _TAG.sub("", text)))
        link = f'<a class="anchor" href="#{anchor}" aria-label="Link to this section">#</a>'
        return f'<h{level} id="{anchor}">{text}{link}</h{level}>'

    return _HEADING.sub(anchored, body), sections


def _contents(sections: Sequence[tuple[int, str, str]]) -> str:
    if len(sections) < _SECTIONS:
        return ""
    items = "".join(f'<li class="h{level}"><a href="#{anchor}">{text}</a></li>' for level, anchor, text in sections)
    return f'\n<nav class="contents" aria-label="Contents"><ul>{items}</ul></nav>\n'


def _related(links: Mapping[str, str]) -> str:
    if not links:
        return ""
    items = " · ".join(f'<a href="{escape(address)}">{escape(text)}</a>' for address, text in links.items())
    return f'\n<p class="related">{items}</p>\n'


_FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --text: #1c1c1c; --quiet: #555; --page: #fff; --raised: #f4f6f8; --line: #dde1e4;
        --strong: #888; --link: #0060a0; --shade: #0006; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e4e6e8; --quiet: #a9b0b6; --page: #15181b; --raised: #23282d; --line: #373d43; --strong: #7b838a;
          --link: #7cc0f5; --shade: #fff6; }
  .frame img { padding: .5rem; border-radius: .4rem; }
}
html { scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 52rem; color: var(--text); background: var(--page);
       font: 1rem/1.6 "Helvetica Neue", Arial, "Liberation Sans", sans-serif; overflow-wrap: break-word; }
a { color: var(--link); }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .4rem; }
p { margin: .6rem 0; }
sup, sub { line-height: 0; }
.anchor { margin-left: .4em; text-decoration: none; color: var(--quiet); opacity: 0; }
:is(h2, h3):hover .anchor, .anchor:focus { opacity: 1; }
.related { font-weight: 600; }
.contents { margin: 1rem 0; font-size: .9rem; line-height: 1.4; }
.contents ul { margin: 0; padding: 0; list-style: none; display: flex; flex-wrap: wrap; gap: .3rem 1.1rem; }
.contents .h3 { display: none; }
.contents a { text-decoration: none; }
.contents a:hover { text-decoration: underline; }
@media (min-width: 72rem) {
  body { margin: 0 0 0 max(16rem, calc(50vw - 20rem)); }
  .contents { position: fixed; top: 2.4rem; left: max(1.5rem, calc(50vw - 34.5rem)); width: 13rem; margin: 0;
              max-height: calc(100vh - 4rem); overflow-y: auto; }
  .contents ul { display: block; }
  .contents li { margin: 0 0 .4rem; }
  .contents .h3 { display: list-item; padding-left: .9rem; }
  .contents .h3 a { color: var(--quiet); }
}
.frame { margin: 1.1rem 0 .3rem; }
.frame img { display: block; box-sizing: border-box; width: 100%; height: auto; background: #fff; }
.enlarge { display: block; position: relative; cursor: zoom-in; }
.enlarge::after { content: "enlarge"; position: absolute; top: 0; right: 0; padding: .05rem .5rem; opacity: 0;
                  font-size: .75rem; color: #fff; background: #333; }
:is(.enlarge:hover, .enlarge:focus)::after { opacity: .85; }
@media (hover: none), (max-width: 40rem) {
  .enlarge::after { content: "tap to enlarge"; position: static; display: block; padding: .1rem 0 0; opacity: 1;
                    text-align: right; color: var(--link); background: none; }
}
.zoom:target .enlarge::after { content: none; }
.close { display: none; }
.zoom:target { position: fixed; inset: 0; z-index: 1; overflow: auto; background: #fff; }
.zoom:target img { width: auto; min-width: 100%; max-width: none; padding: 0; }
.zoom:target .enlarge { position: static; cursor: default; }
.zoom:target .close { display: block; position: fixed; top: .6rem; right: .9rem; padding: .3rem .8rem;
                      border-radius: .4rem; color: #fff; background: #333; text-decoration: none; }
.caption { margin: 0 0 1.6rem; padding-left: .8rem; border-left: 3px solid var(--line); color: var(--quiet);
           font-size: .88rem; line-height: 1.5; }
.caption p { margin: 0; }
/* A shadow at the side on which a table goes on. */
.table { overflow-x: auto; margin: .8rem 0 1.4rem; background-repeat: no-repeat;
         background-attachment: local, local, scroll, scroll;
         background-image: linear-gradient(to right, var(--page) 40%, transparent),
           linear-gradient(to left, var(--page) 40%, transparent),
           linear-gradient(to right, var(--shade), transparent), linear-gradient(to left, var(--shade), transparent);
         background-position: left, right, left, right;
         background-size: 2.5rem 100%, 2.5rem 100%, 1rem 100%, 1rem 100%; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; border-bottom: 1px solid var(--line); vertical-align: top; }
th { border-bottom: 1.5px solid var(--strong); font-weight: 600; vertical-align: bottom; }
table:has(th:nth-child(10)) :is(th, td) { padding-right: .35rem; font-size: .9em; }
td.number, th.number { text-align: right; white-space: nowrap; }
th.number { white-space: normal; }
code { font: .9em "DejaVu Sans Mono", Menlo, Consolas, monospace; background: var(--raised); padding: .05em .25em; }
td code { background: none; padding: 0; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; background: var(--raised); border-left: 3px solid #0072b2; }
pre { overflow-x: auto; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
@media (max-width: 40rem) {
  .table td:not(.number, :first-child) { min-width: 9rem; }
  details thead { display: none; }
  details tr { display: block; padding: .4rem 0; border-bottom: 1px solid var(--line); }
  details td, details td.number { display: block; padding: 0; border: 0; text-align: left; }
}
footer { margin-top: 3rem; padding-top: .8rem; border-top: 1px solid var(--line); color: var(--quiet);
         font-size: .85rem; line-height: 1.5; }
@media print {
  body { max-width: none; margin: 0; padding: 0; }
  .contents, .anchor, .close { display: none; }
  .frame { break-inside: avoid; }
}
</style>
</head>
<body>
{{ body }}
</body>
</html>
"""
