"""What tests of downloads share: a file, a download of it, also in a process of its own, and answers of a server."""

import hashlib
import subprocess
import sys

from lrp_dynamics.data import download
from lrp_dynamics.data.download import Remote
from lrp_dynamics.data.transfer import Limits

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "archive.tar.gz"
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(CONTENT)
PROGRAM = (
    "import sys; from lrp_dynamics.data.download import Remote, fetch;"
    "fetch(Remote(sys.argv[1], [sys.argv[2]], sys.argv[3]), sys.argv[4])"
)


def fetch(raw, *addresses, known=None, **limits):
    return download.fetch(Remote(NAME, addresses, SHA256, known), raw, Limits(pause=0.0, **limits))


def program(server, raw):
    arguments = [sys.executable, "-c", PROGRAM, NAME, f"{server.url}/{NAME}", SHA256, str(raw)]
    return subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)


def visible(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def size_of(path):
    return path.stat().st_size if path.exists() else 0


def asked(server, path=NAME):
    return [value for name, value in server.requests if name == path]


def once(behaviour):
    calls = []

    def answer(handler, body):
        calls.append(1)
        return len(calls) == 1 and behaviour(handler, body)

    return answer
