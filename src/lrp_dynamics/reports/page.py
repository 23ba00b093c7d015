"""The frame of a report's page: self-contained, it loads neither fonts nor scripts nor styles from elsewhere."""

import re
from html import escape


def framed(title: str, body: str) -> str:
    """Return a whole HTML page.

    Parameters
    ----------
    title : str
        Plain text.
    body : str
        HTML.
    """
    # Each alone: a title may look like the other place.
    head, middle, end = re.split(r"\{\{ \w+ \}\}", _FRAME)
    return f"{head}{escape(title)}{middle}{body}{end}"


_FRAME = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
:root { color-scheme: light; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 52rem; color: #1c1c1c; background: #fff;
       font: 1rem/1.6 "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .4rem; }
h2 { font-size: 1.35rem; margin: 2.6rem 0 .6rem; padding-top: .6rem; border-top: 1px solid #ddd; }
h3 { font-size: 1.08rem; margin: 1.8rem 0 .4rem; }
p { margin: .6rem 0; }
img { display: block; width: 100%; height: auto; margin: 1.1rem 0 .3rem; }
.caption { margin: 0 0 1.6rem; padding-left: .8rem; border-left: 3px solid #cfd8dc; color: #444;
           font-size: .88rem; line-height: 1.5; }
.caption p { margin: 0; }
.table { overflow-x: auto; margin: .8rem 0 1.4rem; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .28rem .8rem .28rem 0; text-align: left; border-bottom: 1px solid #e4e4e4; vertical-align: top; }
th { border-bottom: 1.5px solid #888; font-weight: 600; }
td.number, th.number { text-align: right; }
code { font: .9em "DejaVu Sans Mono", Menlo, Consolas, monospace; background: #f4f4f4; padding: .05em .25em; }
blockquote { margin: 1rem 0; padding: .1rem 1rem; background: #f6f8fa; border-left: 3px solid #0072b2; }
pre { overflow-x: auto; }
@media print { body { max-width: none; padding: 0; } img { break-inside: avoid; } }
</style>
</head>
<body>
{{ body }}
</body>
</html>
"""
