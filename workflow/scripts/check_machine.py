"""What the set-up needs and this machine lacks, one sentence each, told before anything is downloaded.

    python3 workflow/scripts/check_machine.py FOLDER    # of the environment to be made

Runs on any Python 3, with nothing but the standard library.
"""

import os
import shutil
import sys
import sysconfig
import tempfile

OLDEST, NEWEST = (3, 11), (3, 13)
# Measured on Linux, where PyTorch comes with the libraries of CUDA: the environment, and what pip downloads for it.
ENVIRONMENT_GB, DOWNLOADS_GB = 6.5, 3.0


def problems(folder):
    """Return what is missing for an environment in a folder."""
    return [*python_problems(), *tool_problems(), *space_problems(folder)]


def python_problems():
    version = "{}.{}".format(*sys.version_info[:2])
    if sys.version_info[:2] < OLDEST:
        yield f"Python {version} ({sys.executable}) is too old, 3.11 to 3.13 are tested: make PYTHON=python3.13 setup"
    elif sys.version_info[:2] > NEWEST and not can_compile():
        yield (
            f"Python {version} ({sys.executable}) needs a C compiler and Python's headers, since not every package "
            "is built for it yet; 3.11 to 3.13 need none: make PYTHON=python3.13 setup"
        )
    for module in ("venv", "ensurepip"):
        try:
            __import__(module)
        except ImportError:
            yield f"Python {version} lacks its module {module}; on Debian and Ubuntu: apt install python{version}-venv"
            return


def can_compile():
    """Tell whether a package can be built from its source."""
    header = os.path.join(sysconfig.get_paths()["include"], "Python.h")
    return bool(shutil.which("cc") or shutil.which("gcc")) and os.path.exists(header)


def tool_problems():
    if not shutil.which("git"):
        yield "git is missing; install it with the package manager of your system"


def space_problems(folder):
    parent = os.path.abspath(folder)
    while not os.path.exists(parent):
        parent = os.path.dirname(parent)
    downloads = tempfile.gettempdir()
    together = os.stat(parent).st_dev == os.stat(downloads).st_dev
    needs = {parent: ENVIRONMENT_GB + DOWNLOADS_GB * together}
    if not together:
        needs[downloads] = DOWNLOADS_GB
    for place, need in needs.items():
        free = shutil.disk_usage(place).free / 1e9
        if free < need:
            hint = "free some" + (", or name another disk's folder in TMPDIR" if place == downloads else "")
            yield f"{place} has {free:.1f} GB of free space, but {need:.1f} GB are needed; {hint}"


def main():
    found = problems(sys.argv[1])
    for problem in found:
        print(f"make: {problem}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
