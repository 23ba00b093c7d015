"""Downloads against a real local HTTP server that misbehaves in every way seen in the wild."""

import gzip
import hashlib
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest
from downloading import visible
from waiting import LIMIT, wait_until

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.data import download
from lrp_dynamics.data.download import Remote
from lrp_dynamics.data.transfer import Limits

CONTENT = bytes(range(256)) * 8192  # 2 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "archive.tar.gz"


def fetch(wanted, raw, **limits):
    return download.fetch(wanted, raw, Limits(pause=0.0, **limits))


def remote(*addresses, sha256=SHA256):
    return Remote(NAME, addresses, sha256)


def refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/{NAME}"


def status(code):
    def answer(handler, body):
        handler.send_error(code)
        return True

    return answer


def first_time(behaviour):
    """Misbehave once, then serve the file."""
    calls = []

    def answer(handler, body):
        calls.append(1)
        return len(calls) == 1 and behaviour(handler, body)

    return answer


def breaks_halfway(handler, body):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True
    return True


def never_answers(handler, body):
    handler.server.closing.wait(LIMIT)
    handler.close_connection = True
    return True


def test_downloads_once_and_leaves_nothing_else(server, raw):
    server.files[NAME] = CONTENT
    assert fetch(remote(f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT
    assert fetch(remote(f"{server.url}/{NAME}"), raw) == raw / NAME
    assert len(server.requests) == 1
    assert visible(raw) == [NAME]


def test_shows_progress_and_the_size(server, raw, capsys):
    server.files[NAME] = CONTENT
    fetch(remote(f"{server.url}/{NAME}"), raw)
    assert "2.00M/2.00M" in capsys.readouterr().err


@pytest.mark.parametrize("fault", ["missing", "refused", "wrong content", "broken", "server error"])
def test_falls_back_to_the_next_mirror(server, raw, fault):
    server.files |= {NAME: CONTENT, "bad": b"a page that says log in first"}
    server.behaviours |= {"broken": breaks_halfway, "error": status(503)}
    bad = {"missing": "nowhere", "wrong content": "bad", "broken": "broken", "server error": "error"}
    first = refused() if fault == "refused" else f"{server.url}/{bad[fault]}"
    assert fetch(remote(first, f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT
    assert visible(raw) == [NAME]


def test_resumes_a_broken_transfer(server, raw):
    server.files[NAME] = CONTENT
    server.behaviours[NAME] = first_time(breaks_halfway)
    assert fetch(remote(f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT
    assert server.requests == [(NAME, None), (NAME, f"bytes={len(CONTENT) // 2}-")]


def test_starts_again_where_the_server_cannot_resume(server, raw):
    server.files[NAME] = CONTENT
    server.ranges = False
    server.behaviours[NAME] = first_time(breaks_halfway)
    assert fetch(remote(f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT


@pytest.mark.parametrize("junk", [b"left by another file", CONTENT + b"longer than the file"])
def test_a_useless_part_is_thrown_away(server, raw, junk):
    raw.mkdir()
    (raw / f"{NAME}.part").write_bytes(junk)
    server.files[NAME] = CONTENT
    if len(junk) > len(CONTENT):
        server.behaviours[NAME] = first_time(status(416))
    assert fetch(remote(f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT
    assert visible(raw) == [NAME]


def test_retries_a_busy_server(server, raw):
    server.files[NAME] = CONTENT
    server.behaviours[NAME] = first_time(status(503))
    assert fetch(remote(f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT


def test_bytes_declared_as_gzip_encoding_are_kept(server, raw):
    packed = gzip.compress(b"some text", mtime=0)

    def declares_encoding(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(packed)))
        handler.end_headers()
        handler.wfile.write(packed)
        return True

    server.behaviours[NAME] = declares_encoding
    found = fetch(remote(f"{server.url}/{NAME}", sha256=hashlib.sha256(packed).hexdigest()), raw)
    assert found.read_bytes() == packed


def test_a_wrong_file_is_asked_for_once_and_not_kept(server, raw):
    server.files[NAME] = b"not it"
    with pytest.raises(UserError, match=f"sent a file with SHA-256 {hashlib.sha256(b'not it').hexdigest()}"):
        fetch(remote(f"{server.url}/{NAME}"), raw)
    assert len(server.requests) == 1
    assert visible(raw) == []


def test_one_message_when_nothing_is_reachable(raw, tmp_path):
    addresses = (refused(), "http://no-such-host.invalid/x", str(tmp_path / "absent.tar.gz"))
    with pytest.raises(UserError) as caught:
        fetch(remote(*addresses), raw)
    lines = str(caught.value).splitlines()
    assert [line.split(": ")[0].strip() for line in lines[1:4]] == list(addresses)
    assert "connection refused" in lines[1]
    assert "no such file" in lines[3]
    assert SHA256 in lines[4]
    assert str(raw / NAME) in lines[4]
    assert "`make demo` needs no download" in lines[4]
    assert visible(raw) == []


def test_servers_that_never_answer_share_the_patience(server, raw):
    addresses = [f"{server.url}/{name}" for name in "abc"]
    server.behaviours |= dict.fromkeys("abc", never_answers)
    with pytest.raises(UserError) as caught:
        fetch(remote(*addresses), raw, patience=3.0)
    assert str(caught.value).count("no answer") == 3
    assert len(server.requests) == 3  # each was asked once; then the time was up


def test_patience_and_the_pauses_stay_under_half_a_minute():
    usual = Limits()
    assert usual.patience + usual.pause * sum(range(usual.rounds)) < 30


def test_a_stalled_transfer_is_given_up_and_resumed(server, raw):
    def stalls(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[:1_000_000])
        handler.wfile.flush()
        return never_answers(handler, body)

    server.files[NAME] = CONTENT
    server.behaviours[NAME] = first_time(stalls)
    assert fetch(remote(f"{server.url}/{NAME}"), raw, stall=1.0).read_bytes() == CONTENT


def test_a_hand_placed_file_is_used_without_asking_anybody(server, raw):
    raw.mkdir()
    (raw / NAME).write_bytes(CONTENT)
    assert fetch(remote(f"{server.url}/{NAME}"), raw) == raw / NAME
    assert server.requests == []


def test_a_wrong_hand_placed_file_is_an_error_and_stays(server, raw):
    raw.mkdir()
    (raw / NAME).write_bytes(b"half of it")
    server.files[NAME] = CONTENT
    with pytest.raises(UserError, match=rf"raw/{NAME} has SHA-256 \w+, expected {SHA256}"):
        fetch(remote(f"{server.url}/{NAME}"), raw)
    assert (raw / NAME).read_bytes() == b"half of it"
    assert server.requests == []


@pytest.mark.parametrize("as_url", [False, True])
def test_a_local_file_is_used_where_it_lies(server, raw, tmp_path, as_url):
    mirror = tmp_path / "with space.tar.gz"
    mirror.write_bytes(CONTENT)
    address = mirror.as_uri() if as_url else str(mirror)
    assert fetch(remote(f"{server.url}/{NAME}", address), raw) == mirror
    assert server.requests == []
    assert not raw.exists()


def test_a_wrong_local_file_is_passed_over(server, raw, tmp_path):
    (tmp_path / "other").write_bytes(b"another file")
    server.files[NAME] = CONTENT
    assert fetch(remote(str(tmp_path / "other"), f"{server.url}/{NAME}"), raw) == raw / NAME


def test_simultaneous_downloads_ask_once(server, raw):
    server.files[NAME] = CONTENT

    def slowly(handler, body):
        time.sleep(0.2)
        return False

    server.behaviours[NAME] = slowly
    threads = [threading.Thread(target=fetch, args=(remote(f"{server.url}/{NAME}"), raw)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 1
    assert (raw / NAME).read_bytes() == CONTENT


def test_a_killed_download_leaves_no_file_and_is_resumed(server, raw):
    reached = threading.Event()

    def stops_halfway(handler, body):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])
        handler.wfile.flush()
        reached.set()
        return never_answers(handler, body)

    server.files[NAME] = CONTENT
    server.behaviours[NAME] = first_time(stops_halfway)
    code = (
        "import sys; from lrp_dynamics.data.download import Remote, fetch;"
        "fetch(Remote(sys.argv[1], [sys.argv[2]], sys.argv[3]), sys.argv[4])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, NAME, f"{server.url}/{NAME}", SHA256, str(raw)], stderr=subprocess.DEVNULL
    )
    assert reached.wait(LIMIT)
    part = raw / f"{NAME}.part"
    wait_until(lambda: part.exists() and part.stat().st_size > 0, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert visible(raw) == [part.name]
    assert fetch(remote(f"{server.url}/{NAME}"), raw).read_bytes() == CONTENT
    assert server.requests[1][1].startswith("bytes=")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((NAME, ["http://x/y"], "abc"), "64 hexadecimal digits"),
        ((NAME, "http://x/y", SHA256), "list of addresses"),
        ((NAME, [], SHA256), "list of addresses"),
        (("", ["http://x/"], SHA256), "does not end in a file's name"),
        (("..", ["http://x/.."], SHA256), "does not end in a file's name"),
    ],
)
def test_bad_parameters_are_named(arguments, said):
    with pytest.raises(UserError, match=said):
        Remote(*arguments)


def test_other_protocols_are_refused(raw):
    with pytest.raises(UserError, match="ftp://x/y"):
        fetch(remote("ftp://x/y"), raw)


def test_a_folder_that_cannot_be_made_is_named(server, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(UserError, match="cannot write to the folder of raw files"):
        fetch(remote(f"{server.url}/{NAME}"), tmp_path / "file" / "raw")
