"""Shards: the fixed samples of a recording divided among several runs of the same training."""

from collections.abc import Mapping
from typing import Any

from lrp_dynamics.base.errors import UserError

BATCH = 50  # samples explained at a time, unless told otherwise


def rows_of(recording: Mapping[str, Any], shard: int, shards: int) -> slice:
    """Return which of the fixed samples one shard records.

    Shards are made of whole batches, as even as they get: what is computed for a sample depends on its batch.

    Parameters
    ----------
    recording : mapping
        "samples", "batch_size".
    shard, shards : int
        Which one, counted from 1, of how many.

    Raises
    ------
    UserError
        If there is no such shard, or there are fewer batches than shards.

    Examples
    --------
    >>> [rows_of({"samples": 130, "batch_size": 50}, shard, 2) for shard in (1, 2)]
    [slice(0, 50, None), slice(50, 130, None)]
    """
    samples, size = recording["samples"], recording.get("batch_size", BATCH)
    batches = -(-samples // size)
    if not 1 <= shard <= shards:
        raise UserError(f"shard {shard}/{shards}: expected a number from 1 to {shards}")
    if shards > batches:
        raise UserError(
            f"recording.shards: found {shards}, expected at most {batches}, the number of batches of "
            f"{samples} samples; choose fewer shards, or a batch_size smaller than {size}"
        )
    first, last = batches * (shard - 1) // shards, batches * shard // shards
    return slice(first * size, min(last * size, samples))
