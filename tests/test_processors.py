"""What is promised of numbers holds on other processors too, as far as one machine can imitate them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Other instructions add in another order, and so do other numbers of threads.
PROCESSORS = {
    "without wide vectors": {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OMP_NUM_THREADS": "2",
    },
    "with AVX2 and four threads": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_CBWR": "COMPATIBLE",
        "OMP_NUM_THREADS": "4",
    },
}
TESTS = [f"lrp/test_{name}.py" for name in ("laws", "float32", "batch_norm", "oracles")]
TESTS += [f"recording/test_{name}.py" for name in ("recorder", "shards", "explainers")]


@pytest.mark.long
@pytest.mark.parametrize("processor", PROCESSORS)
def test_the_laws_hold_on_another_processor(tmp_path, processor):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'inner'}"]
    done = subprocess.run(
        [*command, *(str(ROOT / "tests" / name) for name in TESTS)],
        cwd=ROOT,
        env=environment | PROCESSORS[processor],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
