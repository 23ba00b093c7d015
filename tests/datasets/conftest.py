"""A real HTTP server whose files can misbehave, and the real images where they are at hand."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


class Server(ThreadingHTTPServer):
    """Serves `files`, path -> bytes; `behaviours` may do otherwise; `requests` are noted as (path, Range header)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.behaviours: dict[str, Callable[[BaseHTTPRequestHandler, bytes], bool]] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.ranges = True
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path = self.path.removeprefix("/")
        asked = self.headers.get("Range")
        self.server.requests.append((path, asked))
        body = self.server.files.get(path, b"")
        behaviour = self.server.behaviours.get(path)
        if behaviour and behaviour(self, body):
            return
        if path not in self.server.files:
            self.send_error(404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        self.wfile.write(body[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.closing.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; LRP_DYNAMICS_SHARED_DATA names it, by default ../shared/data beside the repository."""
    folder = Path(os.environ.get("LRP_DYNAMICS_SHARED_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real images: {folder} does not exist (set LRP_DYNAMICS_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def cifar10_archive(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive in the official layout, of real photographs."""
    script = shared_data / "build_cifar10_archive.py"
    if not script.is_file():
        pytest.skip(f"no real images: {script} does not exist")
    archive = tmp_path_factory.mktemp("cifar10") / "cifar-10-reencoded.tar.gz"
    subprocess.run([sys.executable, script, archive], check=True, capture_output=True)
    return archive


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"
