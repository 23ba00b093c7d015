"""The frame of every page: contents, anchors, large figures, tables, numbers with descriptions, footer."""

import io
import json
import re
from html.parser import HTMLParser
from shutil import which

import numpy as np
import pytest
from PIL import Image

from lrp_dynamics.base.typeset import rule_name
from lrp_dynamics.reports.footer import find_provenance, made_by
from lrp_dynamics.reports.page import figure, folded, framed, table
from lrp_dynamics.reports.telling import described, rule

PIXEL = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/%3E"
BODY = (
    "<h1>A <em>run</em></h1><p>text</p>"
    f"<h2 id='Old'>The maps &amp; more</h2>{figure(PIXEL, 'one')}"
    f"<h3>Conservation</h3>{figure(PIXEL, 'two', '<p>caption</p>')}"
    f"<h2>The end</h2><h3>Conservation</h3>{table(['name', 'value'], [['<b>a</b>', '1']], numeric=[1])}"
)


class Elements(HTMLParser):
    """Each opening tag of a page, with its attributes."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def of(self, tag: str, attribute: str) -> list[str]:
        return [attributes[attribute] for name, attributes in self.found if name == tag and attribute in attributes]


def test_every_link_within_the_page_leads_somewhere_and_no_anchor_stands_twice():
    page = framed("A run", BODY)
    found = Elements(page)
    anchors = [attributes["id"] for _, attributes in found.found if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    targets = {address.removeprefix("#") for address in found.of("a", "href")}
    assert targets == set(anchors)
    assert page == framed("A run", BODY)


def test_the_contents_follow_the_title_and_list_every_section():
    page = framed("A run", BODY)
    contents = re.search(r"</h1>\s*<nav.*?</nav>", page, re.S)[0]
    assert re.findall(r'class="(h\d)"><a href="#([\w-]+)">(.*?)</a>', contents) == [
        ("h2", "the-maps-more", "The maps &amp; more"),
        ("h3", "conservation", "Conservation"),
        ("h2", "the-end", "The end"),
        ("h3", "conservation-2", "Conservation"),
    ]
    assert "<nav" not in framed("short", "<h1>short</h1><h2>one</h2>")


def test_a_figure_opens_large_and_closes_by_links_without_script():
    found = Elements(framed("A run", BODY))
    assert [found.of("a", "href").count(f"#{place}-{k}") for place in ("large", "figure") for k in (1, 2)] == [1] * 4
    assert found.of("img", "alt") == ["one", "two"]
    assert found.of("script", "src") == []
    assert "script" not in [tag for tag, _ in found.found]


def test_related_pages_are_linked_below_the_title_and_the_footer_ends_the_page():
    page = framed("A run", BODY, footer="<p>made</p>", links={"explorer.html": "Explorer <1>"})
    assert re.search(r'</h1>\s*<p class="related"><a href="explorer.html">Explorer &lt;1&gt;</a></p>', page)
    assert page.index("<footer><p>made</p></footer>") > page.index("The end")


def test_in_a_browser_nothing_is_wider_than_the_screen_text_has_contrast_and_figures_open(tmp_path):
    playwright = pytest.importorskip("playwright.sync_api")
    wide = table([f"a long column {k}" for k in range(20)], [["0.123456789"] * 20])
    numbers = folded("All", table(["name", "value", "what"], [["x" * 80, "1", "y " * 50]]))
    (tmp_path / "page.html").write_text(framed("A run", BODY + wide + numbers), encoding="utf-8")
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=which("chromium"), args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(str(error).splitlines()[0])
        for width, scheme in ((400, "dark"), (1200, "light")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.goto((tmp_path / "page.html").as_uri())
            page.locator("summary").click()
            assert page.evaluate("document.documentElement.scrollWidth") == width
            # A shadow says that a table goes on; at its end there is none.
            edges = []
            for scrolled in (0, 10_000):
                page.eval_on_selector(".table >> nth=1", "(it, to) => { it.scrollLeft = to; }", scrolled)
                image = np.asarray(Image.open(io.BytesIO(page.locator(".table").nth(1).screenshot())).convert("L"))
                edges.append(abs(float(image[3, -2]) - float(image[3, image.shape[1] // 2])))
            assert edges[0] > 40 > edges[1] + 30
            told = page.eval_on_selector(".enlarge", "it => getComputedStyle(it, '::after').content")
            assert ("tap" in told) == (width == 400)
            colours = page.evaluate("['color', 'backgroundColor'].map(name => getComputedStyle(document.body)[name])")
            text, background = (_luminance(colour) for colour in colours)
            assert (text > background) == (scheme == "dark")
            assert (max(text, background) + 0.05) / (min(text, background) + 0.05) > 7
            page.locator(".enlarge").first.click()
            assert page.locator("#large-1").bounding_box() == {"x": 0, "y": 0, "width": width, "height": 800}
            page.locator(".close:visible").click()
            assert page.url.endswith("#figure-1")
            assert page.locator(".close:visible").count() == 0
        browser.close()


def _luminance(colour: str) -> float:
    shares = [int(value) / 255 for value in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


# The footer -----------------------------------------------------------------------------------------------------------

PROVENANCE = {
    "started": "2026-01-02T03:04:05+00:00",
    "seconds": 31.8,
    "commit": "a596cfd-dirty",
    "device": "cpu: x86_64",
    "threads": 2,
    "versions": {"lrp-dynamics": "0.1.0", "torch": "2.11.0"},
}


def test_the_footer_tells_commit_time_versions_and_the_command():
    text = re.sub(r"<[^>]*>", "", made_by("snakemake --cores all x.html", PROVENANCE))
    assert "Trained on 2026-01-02, 03:04 UTC from commit a596cfd-dirty in 32 s (cpu: x86_64, 2 threads)" in text
    assert "with lrp-dynamics 0.1.0, torch 2.11.0." in text
    assert "To make this page again: snakemake --cores all x.html" in text


@pytest.mark.parametrize("known", [{}, {"started": "never", "commit": None}, {"versions": {}}, {"shards": []}])
def test_what_is_not_known_is_not_told(known):
    text = made_by(None, known)
    assert "None" not in text
    assert "Trained" not in text
    assert "lrp-dynamics" in text


def test_names_in_the_footer_are_escaped():
    assert "<script" not in made_by("<script>", {"commit": "<script>", "versions": {"<script>": "<script>"}})


def test_provenance_is_found_beside_a_recording_and_one_folder_above(tmp_path):
    (tmp_path / "seed-0" / "z_plus").mkdir(parents=True)
    (tmp_path / "seed-0" / "provenance.json").write_text(json.dumps(PROVENANCE), encoding="utf-8")
    for path in ("seed-0/relevance.h5", "seed-0/z_plus/relevance.h5"):
        assert find_provenance([tmp_path / "metrics.json", tmp_path / path])["commit"] == "a596cfd-dirty"
    assert find_provenance([tmp_path / "metrics.json"]) == {}
    shards = {"shards": [PROVENANCE, PROVENANCE]}
    (tmp_path / "seed-0" / "provenance.json").write_text(json.dumps(shards), encoding="utf-8")
    assert find_provenance([tmp_path / "seed-0" / "relevance.h5"])["threads"] == 2
    (tmp_path / "seed-0" / "provenance.json").write_text("{", encoding="utf-8")
    assert find_provenance([tmp_path / "seed-0" / "relevance.h5"]) == {}


# Names and numbers ----------------------------------------------------------------------------------------------------


def test_names_of_rules_are_typeset_and_escaped():
    assert [rule(name) for name in ("z_plus", "zB_z_plus", "alpha2_beta1")] == ["z⁺", "zᴮ z⁺", "α2β1"]
    assert "<" not in rule("<z_plus>")
    assert rule_name("my_epsilon_2") == "my ε 2"
    assert rule_name("epsilons") == "epsilons"


def test_the_first_pattern_that_fits_a_number_describes_it():
    about = {"*_rank_max": "rank", "*_max": "largest"}
    assert [described(name, about) for name in ("a_rank_max", "a_max", "b")] == ["rank", "largest", ""]
