"""How `make docs` makes the site of the pages in this folder: offline, and with every warning an error."""

import importlib.util
import os
import re
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project, author = "LRP Dynamics", "The LRP Dynamics authors"
copyright = author
version = release = _PROJECT["version"]

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build", "**/.ipynb_checkpoints"]
suppress_warnings = ["config.cache"]

myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Tutorials are run when the site is built, in this environment; one that fails ends the build.
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_execution_in_temp = True
nb_merge_streams = True
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # NumPy's docstrings tell them
autodoc_preserve_defaults = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
default_role = "code"  # docstrings mark code by single backticks

html_theme = "pydata_sphinx_theme"
html_title = "LRP Dynamics"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {
    "logo": {"text": "LRP Dynamics"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "article_footer_items": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": [], "gallery": [], "faq": []}

# One file of MathJax draws formulas without fonts; it is copied into the site, so that pages ask no server.
_MATHJAX = importlib.util.find_spec("sphinx-mathjax-offline")
if _MATHJAX is None:
    raise ModuleNotFoundError("sphinx-mathjax-offline is not installed; `make docs` does it")
html_static_path.append(str(Path(_MATHJAX.submodule_search_locations[0]) / "static" / "mathjax" / "tex-svg.js"))
mathjax_path = "tex-svg.js"


def _formulas(app, what, name, obj, options, lines) -> None:
    """Let docstrings write formulas as the pages do, $...$ and $$...$$, and |R| as it is."""
    text = "\n".join(lines)
    text = re.sub(r"\$\$(.+?)\$\$", lambda found: f"\n.. math:: {' '.join(found[1].split())}\n", text, flags=re.S)
    text = re.sub(r"(?<!`)\$([^$`]+)\$(?!`)", lambda found: f":math:`{' '.join(found[1].split())}`", text)
    for start, line in enumerate(text := text.split("\n")):
        if not line.lstrip().startswith((">>>", "...", ".. ")):
            parts = re.split(r"(`+[^`]*`+)", line)
            parts[::2] = [re.sub(r"\||(?<!\*)\*(?=[\w.])(?![^*\s]+\*)", r"\\\g<0>", part) for part in parts[::2]]
            text[start] = "".join(parts)
    lines[:] = text


def _beside(app, name, source) -> None:
    """Lead links to files beside this folder, which code hosts show, to pages that include them, or to their names."""
    source[0] = re.sub(r"\]\((?:\.\./)+(CONTRIBUTING|CHANGELOG)\.md", lambda f: f"](/{f[1].lower()}.md", source[0])
    source[0] = re.sub(r"\[[^\]]*\]\((?:\.\./)+(examples/[^)]*\.ipynb)\)", r"`\1`", source[0])


class CommandHelp(SphinxDirective):
    """What `lrp-dynamics COMMAND --help` prints, a section a command."""

    def run(self) -> list[nodes.Node]:
        """Return the sections."""
        from lrp_dynamics.commands import cli

        self.env.note_reread()
        os.environ["COLUMNS"] = "84"  # which help is set for
        (commands,) = (action for action in cli.parser()._actions if action.dest == "command")
        found = []
        for name, parser in sorted(commands.choices.items()):
            section = nodes.section(ids=[f"lrp-dynamics-{name}"])
            section += nodes.title(name, name)
            section += nodes.literal_block(text := parser.format_help(), text, language="text")
            found.append(section)
        return found


def setup(app) -> None:
    """Register what the pages need besides the extensions."""
    app.add_directive("command-help", CommandHelp)
    app.connect("autodoc-process-docstring", _formulas, priority=400)  # before numpydoc
    app.connect("source-read", _beside)
