"""Several processes that want the same download: one has it, the others wait, and go on where it was killed."""

import signal

from downloading import CONTENT, HALF, LENGTH, NAME, OK, asked, fetch, once, program, size_of, visible
from waiting import LIMIT, wait_until


def test_a_download_killed_when_all_had_come_is_not_repeated(server, raw):
    def holds_the_end_back(handler, body):
        handler.wfile.write(OK + b"\r\n" + CONTENT)
        handler.wfile.flush()
        handler.server.closing.wait(LIMIT)
        handler.close_connection = True
        return True

    server.behaviours[NAME] = holds_the_end_back
    process = program(server, raw)
    part = raw / f"{NAME}.part"
    wait_until(lambda: size_of(part) == len(CONTENT), process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert visible(raw) == [part.name]
    assert fetch(raw, f"{server.url}/{NAME}").read_bytes() == CONTENT
    assert len(server.requests) == 1


def slowly():
    def answer(handler, body):
        handler.wfile.write(OK + LENGTH + b"\r\n" + CONTENT[:HALF])
        handler.wfile.flush()
        handler.server.closing.wait(0.5)
        handler.wfile.write(CONTENT[HALF:])
        handler.close_connection = True
        return True

    return answer


def test_a_second_process_waits_for_the_first(server, raw):
    server.behaviours[NAME] = slowly()
    processes = [program(server, raw) for _ in range(3)]
    said = [process.communicate(timeout=LIMIT)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(server.requests) == 1
    assert sum("is being downloaded by process" in text for text in said) >= 1
    assert (raw / NAME).read_bytes() == CONTENT
    assert visible(raw) == [NAME]


def test_a_waiting_process_goes_on_where_the_first_was_killed(server, raw):
    def stops(handler, body):
        handler.wfile.write(OK + LENGTH + b"\r\n" + CONTENT[:HALF])
        handler.wfile.flush()
        handler.server.closing.wait(LIMIT)
        handler.close_connection = True
        return True

    server.files[NAME], server.behaviours[NAME] = CONTENT, once(stops)
    first = program(server, raw)
    wait_until(lambda: size_of(raw / f"{NAME}.part") == HALF, first)
    second = program(server, raw)
    assert "is being downloaded by process" in second.stderr.readline()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    second.communicate(timeout=LIMIT)
    assert second.returncode == 0
    assert (raw / NAME).read_bytes() == CONTENT
    assert asked(server) == [None, f"bytes={HALF}-"]


def test_without_locks_two_downloads_do_not_write_to_one_file(server, raw, monkeypatch):
    def unable(*_):
        raise OSError("no locks on this disk")

    monkeypatch.setattr("lrp_dynamics.base.locks.fcntl.flock", unable)
    raw.mkdir()
    (raw / f"{NAME}.part").write_bytes(b"of another process")
    server.files[NAME] = CONTENT
    assert fetch(raw, f"{server.url}/{NAME}").read_bytes() == CONTENT
    assert (raw / f"{NAME}.part").read_bytes() == b"of another process"
    assert visible(raw) == [NAME, f"{NAME}.part"]
