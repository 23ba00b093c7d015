"""Write the report of an experiment as two posts for a Jekyll site: Markdown with front matter, figures and formulas.

OUT gets `_drafts/<name>-<post>.md` and `assets/lrp-dynamics/<name>/<figure>.png`. These are folders of a Jekyll site:
copy them into your own. Words and numbers are those of the report.
"""

import argparse
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Name of the file: title, headings of the report between which it stands, a description for search results, and what
# comes before the part of the report.
POSTS = {
    "training-and-relevance": (
        "Training and relevance: does an explanation follow the prediction?",
        ("# ", "## Part 2"),
        "The relevance maps of a network, recorded while it learns: what is conserved, and what is not.",
        "",
    ),
    "dynamics": (
        "Dynamics: how much does an explanation move while a network learns?",
        ("## Part 2", "## All numbers"),
        "Adding up the changes of relevance maps from step to step: where they are, when, and for which samples.",
        "A relevance map shows which pixels speak for a class, and which speak against it. This post follows the maps "
        "of fixed samples through a whole training, and measures how much they change.",
    ),
}
# Headings that a post's title says already.
_LEFT_OUT = ("# ", "## Part ")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files of this stage."""
    parser.add_argument("--notebook", type=Path, required=True, help="report.ipynb of the experiment")
    parser.add_argument("--figures", type=Path, required=True, help="folder of its figures")
    parser.add_argument("--name", required=True, help="of the experiment; the posts' files are named after it")
    parser.add_argument("--out", type=Path, required=True, help="folder for the posts and their figures")


def run(args: argparse.Namespace) -> None:
    """Write both posts and copy their figures."""
    from lrp_dynamics.base.errors import UserError
    from lrp_dynamics.base.files import atomic, read_json
    from lrp_dynamics.studies.blog.study import FIGURES

    cells = read_json(args.notebook, "an executed notebook").get("cells")
    if not isinstance(cells, list) or not any(cell.get("outputs") for cell in cells):
        raise UserError(f"{args.notebook}: found no executed notebook; make it with `lrp-dynamics report blog`")
    pieces = list(pieces_of(cells, {title: name for name, (title, _) in FIGURES.items()}))
    for post, (title, (start, end), about, opening) in POSTS.items():
        starts = [i for i, (kind, text) in enumerate(pieces) if kind == "heading" and text.startswith(start)]
        ends = [i for i, (kind, text) in enumerate(pieces) if kind == "heading" and text.startswith(end)]
        if not starts or not ends:
            raise UserError(f"{args.notebook}: found no headings {start.strip()!r} and {end!r}; is it the blog report?")
        mine = pieces[starts[0] : ends[0]]
        if opening:  # behind the line that says what was trained and explained
            mine = [next(piece for piece in pieces if piece[0] == "text"), ("text", opening), *mine]
        with atomic(args.out / "_drafts" / f"{args.name}-{post}.md") as temporary:
            temporary.write_text(front_matter(title, about) + body(mine, args.name), encoding="utf-8")
    for name in FIGURES:
        with atomic(args.out / "assets" / "lrp-dynamics" / args.name / f"{name}.png") as temporary:
            shutil.copyfile(args.figures / f"{name}.png", temporary)


def pieces_of(cells: Sequence[Mapping[str, Any]], figures: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield what a notebook shows, in order: kind ("heading", "text", "figure", "html", "formula") and content.

    Parameters
    ----------
    cells : sequence of mapping
        Of the notebook, as its JSON has them. Those tagged "notebook-only" are passed over.
    figures : mapping of str to str
        Title of each figure to its name.
    """
    for cell in cells:
        if "notebook-only" in cell["metadata"].get("tags", []):
            continue
        if cell["cell_type"] == "markdown":
            for line in "".join(cell["source"]).split("\n\n"):
                yield ("heading" if line.startswith("#") else "text"), line
        for output in cell.get("outputs", []):
            data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
            if "image/png" in data:
                yield "figure", figures[output["metadata"]["image/png"]["alt"].partition(": ")[2]]
            elif "text/latex" in data:
                yield "formula", data["text/latex"].strip("$ ")
            elif "text/html" in data:
                yield "html", data["text/html"]
            elif "text/markdown" in data:
                yield "text", data["text/markdown"]


def front_matter(title: str, about: str) -> str:
    """Return the head of a post. Themes name the switch for MathJax in one of two ways."""
    lines = ["layout: post", f"title: {json.dumps(title)}", f"description: {json.dumps(about)}"]
    return "\n".join(["---", *lines, "tags: [explainability, lrp]", "mathjax: true", "math: true", "---", ""]) + "\n"


def body(pieces: Sequence[tuple[str, str]], name: str) -> str:
    """Return the Markdown of a post: figures are counted from 1, and headings begin at the second level."""
    from lrp_dynamics.studies.blog.study import FIGURES

    parts, count = [], 0
    for kind, text in pieces:
        if kind == "heading":
            if not text.startswith(_LEFT_OUT):
                parts.append(re.sub(r"^###", "##", text))
        elif kind == "figure":
            count += 1
            address = f'{{{{ "/assets/lrp-dynamics/{name}/{text}.png" | relative_url }}}}'
            parts.append(f"![Figure {count}: {FIGURES[text][0]}]({address})")
        elif kind == "formula":
            parts.append(f"$$\n{text}\n$$")
        else:
            # Jekyll would take braces for its own, and kramdown a line with a bar for a table.
            text = text.replace("{", "&#123;").replace("|", "&#124;")
            parts.append(re.sub(r"Figure \d+\. ", f"Figure {count}. ", text) if kind == "html" else text)
    return "\n\n".join(parts) + "\n"
