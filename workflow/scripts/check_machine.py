"""What the set-up needs and this machine lacks, one sentence each, told before anything is downloaded.

    python3 workflow/scripts/check_machine.py FOLDER    # of the environment to be made

Runs on Python 3.6 and newer, with nothing but the standard library.
"""

import os
import shutil
import sys
import sysconfig
import tempfile

OLDEST, NEWEST = (3, 11), (3, 13)
# Measured on Linux, where PyTorch comes with the libraries of CUDA: the environment, and what is downloaded for it.
ENVIRONMENT_GB, DOWNLOADS_GB = 6.5, 3.0
# Where pip keeps downloads: for as long as it runs, and for the next time.
DOWNLOADS = [tempfile.gettempdir(), os.path.join(os.path.expanduser("~"), ".cache", "pip")]


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
    needs = {}
    for place, need in [(folder, ENVIRONMENT_GB), *((place, DOWNLOADS_GB) for place in DOWNLOADS)]:
        place = existing(place)
        disk = needs.setdefault(os.stat(place).st_dev, [place, 0.0])
        disk[1] += need
    for place, need in needs.values():
        free = shutil.disk_usage(place).free / 1e9
        if free < need:
            yield f"the disk of {place} has {free:.1f} GB of free space, expected {need:.1f} GB; delete something there"


def existing(path):
    """Return the path, or the nearest folder above it that is there already."""
    path = os.path.abspath(path)
    while not os.path.exists(path):
        path = os.path.dirname(path)
    return path


def main():
    found = problems(sys.argv[1])
    for problem in found:
        print(f"make: {problem}", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
