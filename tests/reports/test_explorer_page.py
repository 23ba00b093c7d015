"""The explorer's page in a browser: scrubbed, sorted, filtered, dragged, linked to, by mouse, keys and touch."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import matplotlib
import numpy as np
import pytest
from synthetic import write_recording

from lrp_dynamics import open_relevance
from lrp_dynamics.base.style import AMOUNT
from lrp_dynamics.recording.store import MAPS_ALONE
from lrp_dynamics.reports.explorer import write_explorer

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="there is no Chromium or Chrome on the PATH")

STEPS = 60
COLORS = np.rint(matplotlib.colormaps["RdBu_r"](np.arange(256))[:, :3] * 255)
# The colours of a panel as it is on the screen.
PAINTED = """(at) => {
  const canvas = document.querySelectorAll(".group .panels canvas[role=img]")[at];
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  return Array.from(copy.getImageData(0, 0, canvas.width, canvas.height).data);
}"""
NAMELESS = """() => [...document.querySelectorAll("button, input, select, canvas[role=img], [role=slider]")]
  .filter((it) => !(it.getAttribute("aria-label") || it.textContent.trim() || it.closest("label")?.textContent.trim()))
  .map((it) => it.outerHTML)"""
FAINT = """() => {
  const part = (v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const behind = (it) => {
    for (; it; it = it.parentElement) {
      const color = getComputedStyle(it).backgroundColor;
      if (!color.endsWith(", 0)")) return color;
    }
  };
  const isText = (it) => [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim()) &&
    it.checkVisibility() && !["SCRIPT", "STYLE", "OPTION"].includes(it.tagName);
  return [...document.querySelectorAll("body *")].filter(isText).map((it) => {
    const [a, b] = [light(getComputedStyle(it).color), light(behind(it))];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), it.outerHTML.slice(0, 90)];
  }).filter(([ratio]) => ratio < 4.5);
}"""


@pytest.fixture(scope="module")
def recordings(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("recordings")
    rng = np.random.default_rng(0)
    size = rng.lognormal(0, 0.5, (1, 24, 1, 1))
    # Every step differs from the one before: by the weights of a few patterns, or altogether.
    patterns = np.einsum("tkn,knyx->tnyx", rng.normal(size=(STEPS, 4, 24)), rng.normal(size=(4, 24, 8, 8)))
    maps = {"first": patterns * size, "second": rng.normal(size=(STEPS // 5, 24, 8, 8))}
    return {
        name: write_recording(folder / f"{name}.h5", found.astype(np.float32), every=5 if name == "second" else 1)
        for name, found in maps.items()
    }


@pytest.fixture(scope="module")
def page_file(recordings, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "explorer ä.html"
    made = write_explorer(path, recordings, title="Walks")["recordings"]
    assert made["first"]["stored_whole"] == 0 < made["second"]["stored_whole"]  # both kinds are painted
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"the browser does not start: {error}")
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, page_file):
    """Open the page; at the end nothing has been asked for, and nothing complained of."""
    contexts, said = [], []

    def opened(link: str = "", path: Path = page_file, **options):
        contexts.append(browser.new_context(**{"viewport": {"width": 1280, "height": 900}} | options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(path.as_uri()) or said.append(request.url))
        page.goto(path.as_uri() + link)
        page.wait_for_selector("html[data-ready] .u-over")
        settle(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert said == []


def settle(page) -> None:
    """Wait until what was asked for is drawn."""
    page.wait_for_timeout(60)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def link_of(page) -> str:
    """Return the link to what is shown, which is written a moment later."""
    page.wait_for_timeout(300)
    return page.evaluate("location.hash")


def painted(page, panel: int) -> np.ndarray:
    """Return what a signed panel shows, from -127.5 to 127.5."""
    colors = np.array(page.evaluate(PAINTED, panel)).reshape(-1, 1, 4)[..., :3]
    return np.abs(colors - COLORS).sum(axis=2).argmin(axis=1) - 127.5


def step_of(page) -> int:
    return int(re.search(r"step (\d+)", page.inner_text("#readout"))[1])


def listed(page) -> list[int]:
    return [int(text) for text in page.eval_on_selector_all(".thumb", "all => all.map(one => one.dataset.sample)")]


def set_range(page, name: str, value: int) -> None:
    page.eval_on_selector(f"#{name}", "(it, v) => { it.value = v; it.dispatchEvent(new Event('input')); }", value)
    settle(page)


def test_every_step_is_painted_as_it_was_recorded(visit, recordings):
    page = visit("#s=3&r=0&o=100")
    with open_relevance(recordings["first"]) as file:
        maps = file.maps(samples=3).reshape(STEPS, -1)
        sums = file.scalar("r_sum")[:, 3]
    for step in (STEPS - 1, 0, 17, 18, 41):
        set_range(page, "step", step)
        assert step_of(page) == step
        assert np.corrcoef(painted(page, 0), maps[step])[0, 1] > 0.99
        shown = float(page.inner_text("#legend td:nth-of-type(2)").replace("−", "-"))
        assert shown == pytest.approx(sums[step], rel=0.01)
    set_range(page, "step", 18)
    changes = painted(page, 1)
    assert np.corrcoef(changes, maps[18] - maps[17])[0, 1] > 0.8


def test_two_recordings_move_in_step_each_by_its_own_steps(visit, recordings):
    page = visit("#s=2&r=0,1&t=33&o=100")
    assert page.locator(".run").count() == 2
    with open_relevance(recordings["second"]) as file:
        last = file.maps(samples=2)[6].ravel()  # step 30, the last one recorded until then
    assert np.corrcoef(painted(page, 3), last)[0, 1] > 0.99
    page.uncheck("#runs label:nth-of-type(1) input")
    settle(page)
    assert page.locator(".run h3").all_inner_texts()[0].startswith("second")
    assert "r=1" in link_of(page)


def test_a_link_opens_the_same_view_and_what_is_not_there_is_passed_over(visit):
    page = visit("#s=4,7&t=12&r=1&v=dynamics&o=40&scale=run&sort=divergence&only=above&th=30&rev=1")
    set_range(page, "step", 13)
    page.keyboard.press("ArrowLeft")
    link = link_of(page)
    again = visit(link)
    for name in ("scale", "sort", "only", "view"):
        assert again.input_value(f"#{name}") == page.input_value(f"#{name}") in link, name
    assert step_of(again) == 12
    assert again.locator(".group").count() == 2
    assert again.input_value("#opacity") == "40"
    assert listed(again) == listed(page)
    odd = visit("#s=999,-1,x&t=1e99&r=7&v=nothing&o=-3&th=no&class=zz&%%%")
    assert step_of(odd) == STEPS - 1
    assert odd.locator(".group").count() == 1
    assert len(listed(odd)) == 24
    odd.evaluate("location.hash = '#s=5&t=7'")
    settle(odd)
    assert step_of(odd) == 7


def test_dynamics_are_added_up_to_the_step(visit, recordings):
    page = visit("#s=4&r=0")
    colors = np.rint(matplotlib.colormaps[AMOUNT](np.arange(256))[:, :3] * 255)
    told = page.locator(".panels figure:nth-child(3) figcaption span")
    with open_relevance(recordings["first"]) as file:
        changes = np.abs(np.diff(file.maps(samples=4).astype(np.float64), axis=0))
    assert told.inner_text().startswith("whole recording, most ")
    for step in (50, 7, 30, STEPS - 1):
        page.evaluate(f"location.hash = '#s=4&r=0&t={step}'")
        settle(page)
        exact = changes[:step].sum(axis=0)
        assert told.inner_text().startswith("whole recording" if step == STEPS - 1 else "up to here")
        shown = float(re.sub(r".*most ", "", told.inner_text()).replace(",", ""))
        assert shown == pytest.approx(exact.max(), rel=0.02)
        painted = np.array(page.evaluate(PAINTED, 2)).reshape(64, 4)[:, None, :3]
        found = np.abs(painted - colors).sum(axis=2).argmin(axis=1)
        np.testing.assert_allclose(found / 255, exact.ravel() / exact.max(), atol=0.03)


def test_samples_are_sorted_and_filtered(visit, recordings):
    page = visit()
    with open_relevance(recordings["first"]) as file:
        divergence = file.accumulated("dynamics").sum(axis=(1, 2))
        labels = file.sample("label")
        margin = file.scalar("margin").mean(axis=0)
    page.select_option("#sort", "divergence")
    settle(page)
    assert listed(page) == np.argsort(-divergence, kind="stable").tolist()
    page.select_option("#sort", "aum")
    settle(page)
    assert listed(page) == np.argsort(margin, kind="stable").tolist()
    page.click("#reverse")
    settle(page)
    assert listed(page) == np.argsort(margin, kind="stable").tolist()[::-1]
    page.select_option("#class", "3")
    settle(page)
    assert sorted(listed(page)) == np.flatnonzero(labels == 3).tolist()
    assert page.inner_text("#count") == f"{np.sum(labels == 3)} of 24 samples"


def test_the_threshold_is_dragged_and_divides_the_samples(visit, recordings):
    page = visit()
    with open_relevance(recordings["first"]) as file:
        divergence = file.accumulated("dynamics").sum(axis=(1, 2))
    box = page.locator("#histogram").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40, steps=4)
    page.mouse.up()
    page.select_option("#only", "above")
    settle(page)
    limit = float(page.get_attribute("#histogram", "aria-valuenow"))
    assert divergence.min() < limit < divergence.max()
    assert sorted(listed(page)) == np.flatnonzero(divergence > limit).tolist()
    page.focus("#histogram")
    page.keyboard.press("ArrowLeft")
    settle(page)
    assert float(page.get_attribute("#histogram", "aria-valuenow")) < limit
    assert step_of(page) == STEPS - 1


def test_labels_of_the_histogram_stand_where_their_values_are(visit):
    for link in ("", "#th=1000", "#th=0.001", "#r=1"):
        page = visit(link)
        low, high, limit = (
            np.log10(float(page.get_attribute("#histogram", f"aria-value{end}"))) for end in ("min", "max", "now")
        )
        width = page.locator("#histogram").bounding_box()["width"]
        ticks = json.loads(page.get_attribute("#histogram", "data-ticks"))
        assert len(ticks) >= 2, link
        values, places = np.transpose(ticks)
        np.testing.assert_allclose(places, (np.log10(values) - low) / (high - low) * width, atol=0.01)
        assert low <= limit <= high
        assert np.diff(places).min() > 20


def test_numbers_stand_beside_the_recording_that_they_are_of(visit, recordings):
    page = visit("#s=2&r=0,1")
    for row, path in zip(page.locator(".run").all(), recordings.values(), strict=True):
        with open_relevance(path) as file:
            divergence = file.accumulated("dynamics")[2].sum()
            margin = file.scalar("margin")[:, 2].mean()
        told = row.locator("dl").inner_text().replace("−", "-")
        found = dict(re.findall(r"(divergence|AUM)\s+(\S+)", told))
        assert float(found["divergence"].replace(",", "")) == pytest.approx(divergence, rel=0.01)
        assert float(found["AUM"]) == pytest.approx(margin, rel=0.01)
    assert page.locator(".who dl").count() == 0
    assert "first," in page.inner_text("#whose")
    page.uncheck("#runs label:nth-of-type(1) input")
    settle(page)
    assert "second," in page.inner_text("#whose")
    assert page.inner_text("#axis").endswith("second")


def test_a_filter_that_nothing_passes_says_so(visit):
    page = visit("#only=above&th=100000")
    assert page.inner_text("#count") == "None of 24 samples is above the threshold."


def test_maps_alone_are_shown_without_image_and_logit(visit, tmp_path):
    path = write_recording(tmp_path / "maps.h5", np.random.default_rng(0).normal(size=(9, 3, 8, 8)).astype(np.float32))
    with h5py.File(path, "a") as file:
        file.attrs.update({"target": MAPS_ALONE, "dataset": "unknown", "dataset_title": "unknown"})
        file["samples/image"][:] = 0
    write_explorer(tmp_path / "maps.html", {"maps": path})
    page = visit(path=tmp_path / "maps.html")
    assert page.inner_text("h1") == "maps.h5"
    assert "no image" in page.inner_text(".who")
    assert page.locator(".chart h3").all_inner_texts()[0].startswith("Relevance")
    assert "logit" not in page.inner_text("#main")
    assert page.locator("#view option").all_inner_texts() == ["relevance", "accumulated dynamics"]
    assert page.is_hidden("#overlay")
    assert "Relevance is in units of the maps, as it was imported." in page.text_content("body")
    set_range(page, "step", 3)
    with open_relevance(path) as file:
        assert np.corrcoef(painted(page, 0), file.maps(3, 0).ravel())[0, 1] > 0.99


def test_a_map_of_a_signal_lies_over_no_strips_of_its_channels(visit, tmp_path):
    maps = np.random.default_rng(0).normal(size=(9, 3, 30)).astype(np.float32)
    write_explorer(tmp_path / "signals.html", {"signals": write_recording(tmp_path / "signals.h5", maps)})
    page = visit("#o=40", path=tmp_path / "signals.html")
    assert page.is_hidden("#overlay")
    assert page.eval_on_selector(".panels canvas[role=img]", "it => it.style.opacity") == "1"


def test_keys(visit):
    page = visit("#s=0&t=10")
    for key, step in {"ArrowRight": 11, "Shift+ArrowRight": 21, "ArrowLeft": 20, "Home": 0, "End": STEPS - 1}.items():
        page.keyboard.press(key)
        settle(page)
        assert step_of(page) == step, key
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowDown")
    settle(page)
    assert page.locator(".group").count() == 2
    assert [one.get_attribute("data-sample") for one in page.query_selector_all("[aria-pressed=true].thumb")] == [
        "1",
        "2",
    ]
    page.keyboard.press("s")
    page.keyboard.press("[")
    assert (page.input_value("#scale"), page.input_value("#opacity")) == ("run", "75")
    page.keyboard.press("?")
    assert page.is_visible("#keys")
    page.keyboard.press("Escape")
    page.keyboard.press("t")
    assert page.get_attribute("html", "data-theme") == "dark"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "skip"


def test_it_plays_to_the_end_and_again_from_the_beginning(visit):
    page = visit("#t=50")
    page.select_option("#speed", "30")
    page.click("#play")
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.wait_for_selector("#play[aria-label=Play]", timeout=20_000)
    settle(page)
    assert step_of(page) == STEPS - 1
    page.click("#play")
    settle(page)
    assert page.get_attribute("#play", "aria-label") == "Pause"
    page.click("#play")
    assert step_of(page) < STEPS - 1


def test_dragging_a_map_or_a_curve_moves_through_the_training(visit):
    page = visit("#t=30&r=0")
    box = page.locator(".panels .stack").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 20, steps=3)
    page.mouse.up()
    settle(page)
    assert step_of(page) > 30
    box = page.locator(".u-over").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 30)
    settle(page)
    assert step_of(page) == pytest.approx(STEPS / 4, abs=2)
    cursor = page.locator(".now").first.bounding_box()
    assert cursor["x"] == pytest.approx(box["x"] + box["width"] / 4, abs=box["width"] / STEPS + 2)


def test_a_phone_has_all_of_it_without_scrolling_sideways(visit):
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True, color_scheme="dark")
    assert page.get_attribute("html", "data-theme") == "dark"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator(".key canvas:visible").count() == 2
    assert page.evaluate("(it => it.scrollWidth <= it.clientWidth)(document.querySelector('#legend'))")
    page.locator(".thumb").nth(5).tap()
    settle(page)
    assert page.get_attribute(".thumb[data-sample='5']", "aria-pressed") == "true"
    page.tap("#first")
    settle(page)
    assert step_of(page) == 0


def test_everything_has_a_name_and_enough_contrast(visit):
    """Names of controls and pictures; text against what is behind it, at least 4.5 to 1 in both themes."""
    for scheme in ("light", "dark"):
        page = visit("#s=1,2", color_scheme=scheme)
        page.click(".about summary")
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(FAINT) == []
