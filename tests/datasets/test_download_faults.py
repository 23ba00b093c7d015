"""Downloads from servers that mean no good, or break in every place: the next address is asked, and nothing is lost."""

import os
import socket
import struct
import subprocess
import time

import pytest
from downloading import CONTENT, HALF, LENGTH, NAME, OK, SHA256, asked, fetch, once, size_of, visible
from waiting import LIMIT

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.data import download
from lrp_dynamics.data.download import Remote
from lrp_dynamics.data.transfer import Limits

KNOWN = pytest.mark.parametrize("known", [None, len(CONTENT)], ids=["size unknown", "size known"])


def sends(*pieces):
    """Answer with these bytes, and close the connection."""

    def answer(handler, body):
        handler.close_connection = True
        for piece in pieces:
            handler.wfile.write(piece)
        return True

    return answer


def goes_on(head, piece, sent, pause=0.0):
    """Send the same piece for as long as it is taken; `sent` gets the sizes."""

    def answer(handler, body):
        handler.close_connection = True
        try:
            handler.wfile.write(head)
            while not handler.server.closing.wait(pause):
                handler.wfile.write(piece)
                sent.append(len(piece))
        except OSError:
            pass
        return True

    return answer


@KNOWN
@pytest.mark.parametrize("kind", ["no length", "chunked", "huge length"])
def test_an_endless_stream_is_cut_off_and_the_next_address_asked(server, raw, kind, known):
    head = {"chunked": b"Transfer-Encoding: chunked\r\n", "huge length": b"Content-Length: 1000000000000000\r\n"}
    piece, sent = bytes(50_000), []
    framed = b"c350\r\n" + piece + b"\r\n" if kind == "chunked" else piece
    server.behaviours["bad"] = goes_on(OK + head.get(kind, b"") + b"\r\n", framed, sent)
    with pytest.raises(UserError, match=r"the server (sends more than|has a file of) [0-9,]+ bytes"):
        fetch(raw, f"{server.url}/bad", known=known, size=len(CONTENT))
    assert asked(server, "bad") == [None]
    assert sum(sent) < 50 << 20  # what lay in the sockets' buffers counts as sent
    assert visible(raw) == []
    server.files[NAME] = CONTENT
    assert fetch(raw, f"{server.url}/bad", f"{server.url}/{NAME}", known=known, size=2 << 20).read_bytes() == CONTENT


def test_a_file_larger_than_the_limit_is_had_by_giving_its_size(server, raw):
    server.files[NAME] = CONTENT
    with pytest.raises(UserError, match="sends more than 1,000 bytes, the most for a file whose size is not given"):
        fetch(raw, f"{server.url}/{NAME}", size=1000)
    assert fetch(raw, f"{server.url}/{NAME}", known=len(CONTENT), size=1000).read_bytes() == CONTENT


def test_a_server_that_gives_a_byte_now_and_then_is_given_up(server, raw):
    dribble = goes_on(OK + LENGTH + b"\r\n", b"\0", [], pause=0.05)
    server.behaviours["slow"] = dribble
    with pytest.raises(UserError, match=r"only \d+ bytes came in"):
        fetch(raw, f"{server.url}/slow", rate=1000, window=0.5)
    server.files[NAME] = CONTENT
    found = fetch(raw, f"{server.url}/slow", f"{server.url}/{NAME}", rate=1000, window=0.5)
    assert found.read_bytes() == CONTENT


def test_the_usual_limits_give_up_a_byte_each_five_seconds_and_no_modem():
    usual = Limits()
    assert 1 / 5 < usual.rate < 56_000 / 8
    assert usual.stall < usual.window <= 60


@KNOWN
@pytest.mark.parametrize("length", ["many", "-5", "1e6", "", "5, 6", "9" * 5000, "0x10", "\u0663"])
def test_a_content_length_that_is_no_number(server, raw, length, known):
    head = OK + f"Content-Length: {length}\r\n\r\n".encode()
    server.behaviours |= {"right": sends(head, CONTENT), "wrong": sends(head, b"another file")}
    server.files[NAME] = CONTENT
    assert fetch(raw, f"{server.url}/wrong", f"{server.url}/{NAME}", known=known).read_bytes() == CONTENT
    (raw / NAME).unlink()
    if length not in ("5, 6",):  # such an answer is refused as a whole
        assert fetch(raw, f"{server.url}/right", known=known).read_bytes() == CONTENT


def resets(handler, count, part):
    """Send the first bytes, and reset the connection once they are on the disk."""
    handler.wfile.write(OK + LENGTH + b"\r\n" + CONTENT[:count])
    handler.wfile.flush()
    until = time.monotonic() + LIMIT / 4
    while size_of(part) < count and time.monotonic() < until:
        time.sleep(0.01)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.close_connection = True
    return True


@pytest.mark.parametrize("count", [1, 5000, 100_000])
def test_what_came_before_a_reset_is_kept(server, raw, count):
    server.files[NAME] = CONTENT
    server.behaviours[NAME] = once(lambda handler, body: resets(handler, count, raw / f"{NAME}.part"))
    assert fetch(raw, f"{server.url}/{NAME}").read_bytes() == CONTENT
    assert asked(server) == [None, f"bytes={count}-"]


@KNOWN
@pytest.mark.parametrize("ranges", [True, False], ids=["resumes", "starts anew"])
def test_a_stream_cut_short_without_a_length_is_asked_for_again(server, raw, known, ranges):
    server.files[NAME], server.ranges = CONTENT, ranges
    server.behaviours[NAME] = once(sends(OK + b"\r\n", CONTENT[:HALF]))
    assert fetch(raw, f"{server.url}/{NAME}", known=known).read_bytes() == CONTENT
    assert asked(server) == [None, f"bytes={HALF}-"]


@KNOWN
def test_another_file_without_a_length_is_no_file_in_the_end(server, raw, known):
    server.ranges = False
    server.behaviours[NAME] = sends(OK + b"\r\n", b"log in first")
    with pytest.raises(UserError, match=rf"{NAME} could not be had"):
        fetch(raw, f"{server.url}/{NAME}", known=known)
    assert NAME not in visible(raw)
    server.files["good"] = CONTENT
    assert fetch(raw, f"{server.url}/good", known=known).read_bytes() == CONTENT  # whatever was left behind
    assert visible(raw) == [NAME]


@KNOWN
def test_a_complete_part_needs_no_server(server, raw, known):
    raw.mkdir()
    (raw / f"{NAME}.part").write_bytes(CONTENT)
    assert fetch(raw, f"{server.url}/{NAME}", known=known).read_bytes() == CONTENT
    assert server.requests == []
    assert visible(raw) == [NAME]


@KNOWN
@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"Content-Range: bytes 0-1/2\r\n",
        b"Content-Range: bytes 7-1048575/1048576\r\n",
        b"Content-Range: bytes x-y/z\r\n",
        b"Content-Range: bytes 524288-99999999999999999999999999/9999999999999999999999999999\r\n",
        b"Content-Range: bytes 524288-5242879/5242880\r\n",
    ],
    ids=["no range", "from the start", "from elsewhere", "no numbers", "huge numbers", "of a larger file"],
)
def test_a_rest_that_is_not_the_one_asked_for_is_not_written_behind_what_came(server, raw, said, known):
    def another_part(handler, body):
        if handler.headers["Range"] is None:
            return False
        return sends(b"HTTP/1.1 206 Partial Content\r\n" + said + b"\r\n", b"junk")(handler, body)

    raw.mkdir()
    server.files |= {NAME: CONTENT, "good": CONTENT}
    server.behaviours[NAME] = another_part
    (raw / f"{NAME}.part").write_bytes(CONTENT[:HALF])
    assert fetch(raw, f"{server.url}/{NAME}", f"{server.url}/good", known=known).read_bytes() == CONTENT


@KNOWN
def test_a_bad_address_cannot_spoil_a_good_one(server, raw, known):
    server.files[NAME] = CONTENT
    server.behaviours["bad"] = sends(OK + LENGTH + b"\r\n", b"junk" * 1000)  # and breaks: the good one goes on from it
    found = fetch(raw, f"{server.url}/bad", f"{server.url}/{NAME}", known=known)
    assert found.read_bytes() == CONTENT
    assert asked(server) == ["bytes=4000-", None]


def test_a_page_of_another_size_does_not_cost_what_has_come(server, raw):
    raw.mkdir()
    (raw / f"{NAME}.part").write_bytes(CONTENT[:HALF])
    server.files[NAME] = CONTENT
    server.behaviours["page"] = sends(OK + b"Content-Length: 12\r\n\r\n", b"log in first")
    found = fetch(raw, f"{server.url}/page", f"{server.url}/{NAME}", known=len(CONTENT))
    assert found.read_bytes() == CONTENT
    assert asked(server) == [f"bytes={HALF}-"]


ODD = {
    "nothing": b"",
    "no http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "bytes": bytes(range(256)) * 8,
    "status is no number": b"HTTP/1.1 many OK\r\n\r\n",
    "status 999": b"HTTP/1.1 999 \x1b[31mred\x1b[0m\r\n\r\n",
    "status 404": b"HTTP/1.1 404 \x1b[31mred\x1b[0m\r\nContent-Length: 0\r\n\r\n",
    "status 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "status 304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "unasked rest": b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n56789",
    "unasked 416": b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n",
    "long header": OK + b"X: " + b"x" * 100_000 + b"\r\n\r\n",
    "many headers": OK + b"X: y\r\n" * 1000 + b"\r\n",
    "header without end": OK + b"X: y",
    "chunk size is no number": OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc",
    "negative chunk": OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nabc",
    "huge chunk": OK + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    "chunk cut": OK + b"Transfer-Encoding: chunked\r\n\r\nff\r\nabc",
    "chunks without end": OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "both lengths": OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
    "two lengths": OK + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "false gzip": OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
    "redirect in a circle": b"HTTP/1.1 302 Found\r\nLocation: /bad\r\nContent-Length: 0\r\n\r\n",
    "redirect to a file": b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n",
    "redirect to nonsense": b"HTTP/1.1 302 Found\r\nLocation: http://[x\r\nContent-Length: 0\r\n\r\n",
    "redirect to bytes": b"HTTP/1.1 302 Found\r\nLocation: http://\xff\xfe\x00/\r\nContent-Length: 0\r\n\r\n",
    "redirect to nowhere": b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
}


@KNOWN
@pytest.mark.parametrize("kind", ODD)
def test_odd_answers_are_one_line_each_and_the_next_address_is_asked(server, raw, kind, known):
    server.behaviours["bad"] = sends(ODD[kind])
    with pytest.raises(UserError) as caught:
        fetch(raw, f"{server.url}/bad", known=known)
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith(f"  {server.url}/bad: ")
    assert str(caught.value).replace("\n", "").isprintable()
    assert NAME not in visible(raw)
    server.files[NAME] = CONTENT
    assert fetch(raw, f"{server.url}/bad", f"{server.url}/{NAME}", known=known).read_bytes() == CONTENT
    assert visible(raw) == [NAME]


def test_headers_that_never_end_are_given_up(server, raw):
    server.behaviours["bad"] = goes_on(OK, b"X: y\r\n", [], pause=0.05)
    server.files[NAME] = CONTENT
    found = fetch(raw, f"{server.url}/bad", f"{server.url}/{NAME}", patience=2.0)
    assert found.read_bytes() == CONTENT


def test_a_local_file_of_another_size_is_not_read(server, raw, tmp_path):
    (tmp_path / "other").write_bytes(b"another file")
    with pytest.raises(UserError, match=r"other has 12 bytes, expected 1,048,576 \(parameter `bytes`\)"):
        fetch(raw, str(tmp_path / "other"), known=len(CONTENT))


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_what_is_no_file_is_said_to_be_none(server, raw, kind):
    raw.mkdir()
    os.mkfifo(raw / NAME) if kind == "fifo" else (raw / NAME).mkdir()
    with pytest.raises(UserError, match=rf"{NAME} is no file"):
        fetch(raw, f"{server.url}/{NAME}")


def test_a_part_that_is_a_link_is_not_followed(server, raw, tmp_path):
    raw.mkdir()
    (tmp_path / "mine").write_bytes(b"letters")
    (raw / f"{NAME}.part").symlink_to(tmp_path / "mine")
    server.files[NAME] = CONTENT
    found = fetch(raw, f"{server.url}/{NAME}")
    assert not found.is_symlink()
    assert found.read_bytes() == CONTENT
    assert (tmp_path / "mine").read_bytes() == b"letters"


@pytest.mark.parametrize("address", ["http://[x/a.gz", "http://x/a%00b", "http://x/a%0Ab", "http://x/" + "a" * 300])
def test_addresses_without_a_usable_name_are_refused(address):
    with pytest.raises(UserError, match=r"neither an address nor|does not end in a file's name|is longer than"):
        Remote(download.filename(address), [address], SHA256)


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", place], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user cannot mount a small disk")
    yield place
    subprocess.run(["umount", place], check=True)


@KNOWN
def test_a_full_disk_is_told_in_one_sentence_and_gone_on_from(server, small_disk, known):
    server.files[NAME] = CONTENT
    with pytest.raises(StorageError, match=rf"{NAME}\.part cannot be written \(No space left on device\)"):
        fetch(small_disk, f"{server.url}/{NAME}", f"{server.url}/other", known=known)
    assert len(server.requests) == 1
    assert visible(small_disk) == [f"{NAME}.part"]
    subprocess.run(["mount", "-o", "remount,size=2M", small_disk], check=True)
    assert fetch(small_disk, f"{server.url}/{NAME}", known=known).read_bytes() == CONTENT
    assert int(asked(server)[1].removeprefix("bytes=").removesuffix("-")) > 100_000
