"""Showing text, figures and tables in a report's notebook."""

import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources.abc import Traversable
from pathlib import Path

from docutils.core import publish_parts
from IPython.display import HTML, Image, Markdown, display

from lrp_dynamics.base.names import shown


def plain(text: str) -> str:
    """Return what others chose, such as a title or the name of a class, for Markdown and HTML: shown letter by letter.

    Examples
    --------
    >>> plain("shapes10 (synthetic)"), plain("<b>_$x$_")
    ('shapes10 (synthetic)', '&#60;b&#62;&#95;&#36;x&#36;&#95;')
    """
    return re.sub(r"""[&<>"'\\`*_{}\[\]#$|~!@^:/]""", lambda found: f"&#{ord(found[0])};", shown(text))


def code(text: str) -> str:
    """Return the same as a piece of code in Markdown."""
    return f"`{shown(text)}`" if re.fullmatch(r"[\w .()-]+", text, re.ASCII) else f"<code>{plain(text)}</code>"


class Telling:
    """Shows text, numbered figures and tables.

    Parameters
    ----------
    titles : mapping
        Name of each figure to its title, the first of a tuple.
    figures : path
        Folder of the figures.
    captions : path or traversable
        Folder of their captions, <figure>.rst.
    """

    def __init__(self, titles: Mapping[str, Sequence[str]], figures: str, captions: Traversable):
        self._titles, self._figures, self._captions, self._count = titles, Path(figures), captions, 0

    def tell(self, text: str | Sequence[str]) -> None:
        """Show Markdown; of several sentences, one paragraph."""
        display(Markdown(text if isinstance(text, str) else " ".join(text)))

    def points(self, *arguments: Sequence[str]) -> None:
        """Show the first sentence of each argument as a list."""
        display(Markdown("\n".join(f"- {sentence[0]}" for sentence in arguments)))

    def figure(self, name: str) -> None:
        """Show a figure with its number and caption."""
        self._count += 1
        caption = (self._captions / f"{name}.rst").read_text(encoding="utf-8")
        html = publish_parts(caption, writer="html5", settings_overrides={"report_level": 5})["body"]
        display(Image(self._figures / f"{name}.png", alt=f"Figure {self._count}: {self._titles[name][0]}"))
        display(HTML(f'<div class="caption">{html.replace("<p>", f"<p>Figure {self._count}. ", 1)}</div>'))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> None:
        """Show a table of HTML cells; the columns named by number in `numeric` are set flush right."""

        def line(tag: str, cells: Sequence[str]) -> str:
            style = [' class="number"' if i in numeric else "" for i in range(len(cells))]
            return "<tr>" + "".join(f"<{tag}{s}>{c}</{tag}>" for s, c in zip(style, cells, strict=True)) + "</tr>"

        body = "\n".join(line("td", row) for row in rows)
        head = line("th", [escape(name) for name in header])
        display(HTML(f'<div class="table"><table><thead>{head}</thead>\n<tbody>{body}</tbody></table></div>'))
