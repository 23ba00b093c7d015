"""What recording is going to cost, told before a training has taken its time."""

from collections.abc import Sequence

from lrp_dynamics.recording.recorder import Recorder

UNITS = ((3600, "h"), (60, "min"), (1, "s"))


def told_cost(recorders: Sequence[Recorder], seconds: float, steps: int) -> str:
    """Return a sentence on the time and the room on the disk that recorders take.

    Parameters
    ----------
    recorders : sequence of Recorder
        Each records every n-th of so many steps, and the untrained network.
    seconds : float
        That a record of all of them has taken.
    steps : int
        Of the training.
    """
    records = [1 + steps // recorder.every for recorder in recorders]
    room = sum(count * recorder.step_bytes for count, recorder in zip(records, recorders, strict=True))
    every = min(recorder.every for recorder in recorders)
    text = (
        f"a record takes {duration(seconds)}, {max(records):,} of them {duration(seconds * max(records))} and up to "
        f"{room / 1e6:,.0f} MB on the disk"
    )
    return f"{text}; recording.every: {10 * every} takes a tenth" if steps >= 10 * every else text


def duration(seconds: float) -> str:
    """Return a time with two digits.

    Examples
    --------
    >>> duration(0.0471), duration(7.2), duration(95), duration(9000)
    ('0.047 s', '7.2 s', '1.6 min', '2.5 h')
    """
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= size), UNITS[-1])
    return f"{seconds / size:.2g} {unit}"
