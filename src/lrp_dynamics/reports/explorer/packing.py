"""Arrays as text in a page: each number's difference from the one before, byte by byte, deflated, in base64.

A packed blob begins with the length of a list, a whole number of 4 bytes, and the list as JSON: of each array that
follows name, type, number of values, and length of what differences are taken along; everything is padded to 4 bytes.
page/data.js reads it.
"""

import json
import zlib
from base64 import b64encode
from collections.abc import Mapping

import numpy as np

TYPES = {"f4": "<u4", "f2": "<u2", "i2": "<u2", "i1": "u1", "u1": "u1"}


def pack(arrays: Mapping[str, np.ndarray]) -> str:
    """Return arrays of the types of `TYPES` as base64.

    Differences are taken along the last axis of an array, and of whole numbers only where its name is "courses": others
    become no smaller by it.
    """
    heads, bodies = [], []
    for name, array in arrays.items():
        kind = f"{array.dtype.kind}{array.dtype.itemsize}"
        bits = np.ascontiguousarray(array.astype(f"<{kind}" if kind[1] != "1" else kind)).view(TYPES[kind])
        by_differences = name == "courses" or kind[0] == "f"
        if by_differences:
            bits = np.concatenate([bits[..., :1], np.diff(bits, axis=-1)], axis=-1)
        heads.append([name, kind, array.size, array.shape[-1] if by_differences else 0])
        bodies.append(bits.reshape(-1, 1).view(np.uint8).T.tobytes())
    head = json.dumps(heads, separators=(",", ":")).encode()
    parts = [len(head).to_bytes(4, "little"), head, *bodies]
    return b64encode(zlib.compress(b"".join(part + bytes(-len(part) % 4) for part in parts), 9)).decode()
