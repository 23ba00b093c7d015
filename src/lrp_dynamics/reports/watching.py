"""Follow a recording that another process is writing, in a terminal or a log."""

import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrp_dynamics.base.errors import StorageError, UserError
from lrp_dynamics.base.locks import holder
from lrp_dynamics.base.names import shown
from lrp_dynamics.recording.store import open_relevance
from lrp_dynamics.reports.terminal import letters, overview

PATIENCE = 5  # looks that may fail in a row, as while a recording that was interrupted is rewritten


def watch(path: str | Path, every: float) -> None:
    """Print what a recording holds, each time anew, until it is complete.

    A terminal shows the newest state in place of the one before; elsewhere each change is a line.

    Parameters
    ----------
    path : str or Path
    every : float
        Seconds between looks.

    Raises
    ------
    StorageError
        If it cannot be read while it is written.
    UserError
        If there is no such recording, or it is not complete and nobody is writing it.
    """
    with _ctrl_c() as asked:
        _follow(path, every, asked)


@contextmanager
def _ctrl_c() -> Iterator[list[int]]:
    """Yield a list that Ctrl-C adds to: an exception would be lost where HDF5 calls back into Python.

    Nothing is added in other threads than the main one, and where Ctrl-C is ignored, as in the background of a script.
    """
    asked: list[int] = []
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or usual is signal.SIG_IGN:
        yield asked
        return
    signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, usual)


def _wait(asked: list[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not asked and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
    if asked:
        raise KeyboardInterrupt


def _follow(path: str | Path, every: float, asked: list[int]) -> None:
    drawn, before, rate, failed, alone = 0, None, "", 0, False
    while True:
        try:
            with open_relevance(path) as recording:
                now, steps = time.monotonic(), recording.steps
                complete, writer = recording.complete, recording.writer
                lines = list(overview(recording, letters()))
                change = f"{shown(path)}: {steps} steps, loss {_last(recording)}"
        except (StorageError, UserError):  # also of a file that is read while it is being closed
            failed += 1
            if failed > PATIENCE or (before is None and holder(Path(path)) is None):
                raise
            _wait(asked, every)
            continue
        failed = 0
        if before is not None and steps > before[0]:
            rate = f"{(steps - before[0]) / (now - before[1]):.1f} steps a second"
        if sys.stdout.isatty():
            columns = shutil.get_terminal_size().columns - 1
            if drawn:
                print(f"\x1b[{drawn}A\x1b[J", end="")
            lines[1] += f", {rate}" if rate and not complete else ""
            print(*(line[:columns] for line in lines), sep="\n", flush=True)
            drawn = len(lines)
        elif before is None or steps > before[0]:
            print(f"{change}{', ' if rate else ''}{rate}", flush=True)
        if before is None or steps > before[0]:
            before = (steps, now)
        if complete:
            if not sys.stdout.isatty():
                print(*lines, sep="\n", flush=True)
            return
        if writer is None:
            if alone:
                raise UserError(
                    f"{shown(path)}: is not complete, and nobody is writing it; go on with its training, or keep what "
                    "is whole by `lrp-dynamics recover`"
                )
            alone = True  # or it was closed between the two looks at it
            _wait(asked, min(every, 0.5))
            continue
        alone = False
        _wait(asked, every)


def _last(recording) -> str:
    return f"{recording.step('train_loss')[-1]:.4g}" if recording.steps else "not known"
