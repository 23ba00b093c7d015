"""Names and titles that others chose are shown letter by letter: in figures, pages, notebooks, tables, terminals."""

import os
import socket
from pathlib import Path

import matplotlib
import nbformat
import numpy as np
import pytest
from harmless import Read
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from safetensors.torch import save_file

from lrp_dynamics import models
from lrp_dynamics.base.names import file_stem, literal, shown
from lrp_dynamics.base.style import RC
from lrp_dynamics.base.tables import read_csv, write_csv
from lrp_dynamics.commands.cli import main
from lrp_dynamics.models.description import Description
from lrp_dynamics.reports.notebook import page
from lrp_dynamics.reports.page import framed
from lrp_dynamics.reports.telling import code, plain

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "</title><script>alert(1)</script>",
    "{{ body }} {{ title }}",
    "$\\frac{$",
    "a $x^2$ b",
    "cost: 5$",
    "\\$5 and \\$6",
    "[link](javascript:alert(1))",
    "![](https://example.org/x.png)",
    "https://example.org",
    "*bold* _under_ `code` ~~gone~~ **",
    "&lt;b&gt; &amp; \"quoted\" 'twice'",
    "two\nlines\tand\x1b[31ma tab\x00",
    b"caf\xe9.jpg".decode("utf-8", "surrogateescape"),
    "\u202egnp.exe",
    "$(touch ran) `touch ran`; touch ran",
    "1. one",
    "# heading",
    "x" * 300,
    "日本語 é 😀",
]


def markdown_page(text: str) -> Read:
    output = nbformat.v4.new_output("display_data", data={"text/markdown": text})
    return Read(page(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("", outputs=[output])])))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_shows_it_and_does_nothing_else(name):
    for text in (f"*{plain(name)} · network {code(name)} · seed 0*", f"**{plain(name)}.** Seen as {plain(name)}."):
        found = markdown_page(text)
        found.assert_harmless()
        assert found.text.count(shown(name)) == 2, found.text[-500:]
    inside = {tag for tag, _ in found.elements}
    assert not {"img", "a", "del", "h2"} & inside


@pytest.mark.parametrize("name", HOSTILE)
def test_a_page_has_its_title(name):
    found = Read(framed(name, "<p>text</p>"))
    found.assert_harmless()
    assert found.elements.count(("p", {})) == 1


def drawn_of(text: str, **options) -> np.ndarray:
    canvas = FigureCanvasAgg(Figure(figsize=(5, 1)))
    canvas.figure.text(0.1, 0.5, text, **options)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_figure_shows_it_letter_by_letter(name):
    """Beside formulas of our own, too; what would be taken for one fails, or is drawn like another text."""
    drawn = []
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "Agg"} | RC):
        for text in (literal(name), f"$R_i$ – {literal(name)}"):
            drawn.append(drawn_of(text))
        visible = shown(name)
        expected = drawn_of(visible if len(visible) <= 80 else visible[:79] + "…", parse_math=False)
    assert np.array_equal(drawn[0], expected)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_table_gives_it_back(tmp_path, name):
    write_csv(tmp_path / "table.csv", {"class": [name, "1.0"], "value": [1, 2]})
    found = read_csv(tmp_path / "table.csv")
    assert found["value"].tolist() == [1, 2]
    assert found["class"][1] == "1.0"
    if name.isprintable():
        assert found["class"][0] == name


def test_columns_of_names_are_text_even_where_all_are_numbers(tmp_path):
    write_csv(tmp_path / "table.csv", {"explanation": ["01", "2"], "class": ["1e3", "nan"], "seed": [1, 2]})
    found = read_csv(tmp_path / "table.csv")
    assert found["explanation"].tolist() == ["01", "2"]
    assert found["class"].tolist() == ["1e3", "nan"]
    assert found["seed"].tolist() == [1, 2]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_of_results_are_short_enough_and_printable(name):
    stem = file_stem(name)
    assert stem.isprintable() or "\u3000" in stem
    assert len(stem.encode()) <= 150


# Through the commands -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network whose classes and data have such names."""
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    classes = tuple(HOSTILE[i] for i in (0, 4, 5, 13))
    model = models.build("blog_cnn", n_classes=4, seed=1)
    save_file(
        model.state_dict(), path, Description("blog_cnn", classes, (3, 32, 32), 0.0, 1.0, "$\\frac{$").as_metadata()
    )
    return path


def pictures_of_all_names(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write a picture under each name that the system takes, and what is no picture; return both lists of paths."""
    folder.mkdir()
    good, bad = [], []
    names = [name.replace("/", "∕").replace("\0", "") for name in HOSTILE]
    names = [*names[:-2], "x" * 250, *names[-1:], "ä" * 125, "cat.jpg", "-out", "line\n"]
    Image.new("RGB", (40, 40), "red").save(folder / "picture.png")
    content = (folder / "picture.png").read_bytes()
    for name in names:
        try:
            (folder / name).write_bytes(content)
        except OSError:  # not every system has files of such names
            continue
        good.append(folder / name)
    (folder / "picture.png").unlink()
    bad.append(folder / "folder.png")
    bad[-1].mkdir()
    bad.append(folder / "pipe.png")
    os.mkfifo(bad[-1])
    bad.append(folder / "loop.png")
    bad[-1].symlink_to("loop.png")
    bad.append(Path("/dev/zero"))
    bad.append(folder / "empty.png")
    bad[-1].write_bytes(b"")
    bad.append(folder / "page.eps")
    bad[-1].write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\nshowpage\n")
    with socket.socket(socket.AF_UNIX) as server:
        bad.append(Path("s.png"))
        server.bind("s.png")
    return good, bad


def test_explain_takes_files_of_any_name_and_leaves_out_what_is_none(tmp_path, monkeypatch, capsys, weights):
    monkeypatch.chdir(tmp_path)
    good, bad = pictures_of_all_names(tmp_path / "pictures")
    arguments = [str(path) for pair in zip(good, [*bad, *[None] * len(good)]) for path in pair if path]  # noqa: B905
    status = main(["explain", *arguments, "--model", str(weights), "--out", "out"])
    said = capsys.readouterr()
    assert status == 0
    assert said.err.count("left out: ") == len(said.err.splitlines()) == len(bad)
    assert all(line.isprintable() for line in said.err.splitlines())
    assert all(line.isprintable() for line in said.out.splitlines())
    table = read_csv("out/predictions.csv")
    assert set(table["image"]) == {shown(path.name) for path in good}
    assert len(list(Path("out").iterdir())) == 2 * len(good) + 2  # the table, and the sheet of all
    assert not Path("ran").exists()


def test_photos_and_folders_take_files_of_any_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good, _ = pictures_of_all_names(tmp_path / "photos")
    params = f'{{"kind": "photos", "path": "{tmp_path / "photos"}", "resize": 32, "size": 32}}'
    assert main(["prepare", "--name", "p", "--params", params, "--raw", "raw", "--out", "p.h5"]) == 0
    assert f"{len(good)} test images" in capsys.readouterr().out
    (tmp_path / "set").mkdir()
    (tmp_path / "photos").rename(tmp_path / "set" / "two\nlines")
    params = f'{{"kind": "folder", "path": "{tmp_path / "set"}"}}'
    assert main(["prepare", "--name", "f", "--params", params, "--raw", "raw", "--out", "f.h5"]) == 0
    said = capsys.readouterr()
    assert all(line.isprintable() for line in said.err.splitlines())
