"""Measure explorer pages: size, errors, time to write, time to open, frames per second while scrubbing.

Run as `python benchmarks/explorer.py NAME=RELEVANCE.h5[,RELEVANCE.h5 ...] ...`: a page for each name. It needs
playwright and an installed Chromium, which draws without a GPU; an idle machine gives the better numbers.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from lrp_dynamics.reports.explorer import write_explorer
from lrp_dynamics.reports.naming import named

# Move the slider at each frame of the screen, from end to end, with what is chosen and the grid in view.
SCRUB = """async (frames) => {
  const slider = document.getElementById("step"), times = [];
  await new Promise((done) => {
    let n = 0, last = performance.now();
    const next = (now) => {
      times.push(now - last);
      last = now;
      slider.value = Math.round(Number(slider.max) * (n % 120) / 119);
      slider.dispatchEvent(new Event("input"));
      if (++n > frames) done(); else requestAnimationFrame(next);
    };
    requestAnimationFrame(next);
  });
  return times.slice(5);
}"""


def measured(browser, page_file: Path, runs: int = 3) -> dict[str, float]:
    """Return seconds until the page can be used, and frames per second while it is scrubbed."""
    ready, drawn, times = [], [], []
    for _ in range(runs):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        started = time.perf_counter()
        page.goto(page_file.as_uri())
        page.wait_for_selector("html[data-ready]")
        ready.append(time.perf_counter() - started)
        page.wait_for_selector(".u-over")
        drawn.append(time.perf_counter() - started)
        page.wait_for_timeout(1500)
        times += page.evaluate(SCRUB, 240)
        context.close()
    times.sort()
    return {
        "ready": statistics.median(ready),
        "drawn": statistics.median(drawn),
        "frames": 1000 * len(times) / sum(times),
        "slow": 1000 / times[int(0.95 * len(times))],
    }


def main() -> None:
    """Write, open and scrub each page; print a line for each, and one for each recording."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="+", metavar="NAME=RELEVANCE.h5[,RELEVANCE.h5 ...]")
    parser.add_argument("--browser", default=shutil.which("chromium") or shutil.which("google-chrome"))
    parser.add_argument("--samples", type=int, default=100)
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=arguments.browser, args=["--no-sandbox"])
        for page in arguments.pages:
            name, _, paths = page.partition("=")
            target = Path(folder) / f"{name}.html"
            started = time.perf_counter()
            made = write_explorer(target, named(paths.split(",")), samples=arguments.samples)
            wrote = time.perf_counter() - started
            found = measured(browser, target)
            print(
                f"{name}: {made['bytes'] / 1e6:.2f} MB, {made['samples']} samples, averaged {made['averaged']}; "
                f"written in {wrote:.1f} s; ready after {found['ready']:.2f} s, curves after {found['drawn']:.2f} s; "
                f"scrubbed at {found['frames']:.0f} frames/s (95 % of frames faster than {found['slow']:.0f}/s)"
            )
            for recording, errors in made["recordings"].items():
                numbers = ", ".join(f"{key} {value}" for key, value in errors.items() if "error" not in key)
                shares = ", ".join(f"{key} {value:.2%}" for key, value in errors.items() if "error" in key)
                print(f"  {recording}: {numbers}; {shares}")
        browser.close()


if __name__ == "__main__":
    main()
