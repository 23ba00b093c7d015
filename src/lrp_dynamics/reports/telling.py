"""Showing text, figures and tables in a report's notebook."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from html import escape
from importlib.resources.abc import Traversable
from pathlib import Path

from docutils.core import publish_parts
from IPython.display import HTML, Image, Markdown, display

from lrp_dynamics.base.names import shown
from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.reports.page import folded, table


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


def rule(name: str) -> str:
    """Return the name of a rule or explanation as people write it, for Markdown and HTML: z⁺ for "z_plus".

    Examples
    --------
    >>> rule("alpha2_beta1"), rule("<b>")
    ('α2β1', '&#60;b&#62;')
    """
    return plain(rule_name(name))


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
        display(HTML(table(header, rows, numeric)))

    def formula(self, tex: str, html: str) -> None:
        """Show a formula in a line of its own.

        Parameters
        ----------
        tex : str
            What MathJax typesets, where there is MathJax: in the posts.
        html : str
            The same for notebooks and pages, which need no script.
        """
        bundle = {"text/html": f"<blockquote><p>{html}</p></blockquote>", "text/latex": f"$$ {tex} $$"}
        display(bundle | {"text/plain": tex}, raw=True)

    def numbers(self, about: Mapping[str, str], **files: Mapping[str, float]) -> None:
        """Show every number of result files, folded away, with what each of them is.

        Parameters
        ----------
        about : mapping of str to str
            Plain text for each name; a name may be a pattern, such as "*_mean_rank". The first that fits counts.
        **files : mapping
            Numbers by name; the keyword is the file's name without ".json".
        """
        rows = [
            (f"<code>{escape(name)}</code>", _written(value), escape(described(name, about)))
            for numbers in files.values()
            for name, value in sorted(numbers.items())
        ]
        header = (" and ".join(f"{name}.json" for name in files), "value", "what it is")
        display(HTML(folded(f"All {len(rows)} numbers", table(header, rows, numeric=(1,)))))


def described(name: str, about: Mapping[str, str]) -> str:
    """Return what a number is; "" if nothing is known of it."""
    return next((text for pattern, text in about.items() if fnmatchcase(name, pattern)), "")


def _written(value: float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value:.6g}"
