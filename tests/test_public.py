"""The public page: every name that users import, found where they look for it."""

import subprocess
import sys

import lrp_dynamics


def test_all_public_names_are_there_and_listed():
    for name in lrp_dynamics.__all__:
        assert getattr(lrp_dynamics, name)
        assert name in dir(lrp_dynamics)
    assert set(lrp_dynamics.__all__) == {"Recorder", "UserError", "__version__", "lrp", "open_relevance", "study"}


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, lrp_dynamics; dir(lrp_dynamics); print({'torch', 'numpy', 'h5py'} & set(sys.modules) or '[]')"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
