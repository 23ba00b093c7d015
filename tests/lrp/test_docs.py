"""The pages keep up with the code and with the benchmark's results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from lrp_dynamics import lrp

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "lrp"


@pytest.mark.parametrize(("page", "names"), [("rules.md", lrp.RULES), ("composites.md", lrp.COMPOSITES)])
def test_every_name_is_documented(page, names):
    found = set(re.findall(r"`([a-z0-9_]+)`", (DOCS / page).read_text()))
    assert set(names) <= found


TABLE = re.compile(r"<!-- table: python (\S+) --table (\S+)( --summary)? --into")
PAGES = {
    path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
MARKED = [(path, *found) for path, text in PAGES.items() for found in TABLE.findall(text)]


@pytest.mark.parametrize(("page", "script", "results", "option"), MARKED, ids=[f"{m[1]}{m[3]}" for m in MARKED])
def test_a_table_is_that_of_its_result_file(page, script, results, option):
    command = [sys.executable, "-X", "utf8", script, "--table", results, *option.split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() in PAGES[page]


def test_the_benchmark_runs_nothing_in_less_than_float32():
    """TF32, which torch takes for convolutions on a GPU unless told otherwise, gives peers another map."""
    code = (
        "import runpy, sys, torch; sys.path.append('benchmarks'); sys.argv = ['lrp.py', '--table', sys.argv[1]];"
        "torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = 'tf32';"
        "runpy.run_path('benchmarks/lrp.py', run_name='__main__');"
        "print(torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)"
    )
    done = subprocess.run([sys.executable, "-c", code, DOCS / "speed.json"], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "ieee ieee", done.stderr
