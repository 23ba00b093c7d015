"""How this process gets its memory from the system."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> bool:
    """Let malloc keep freed memory for its next use, where the C library is glibc; tell whether it does.

    A training allocates and frees the same tensors at every step. By default glibc returns the large ones to the system
    each time, which then clears their pages anew: a third of the processor time of a small CNN. Results are the same.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return False
    return all(mallopt(option, 2**30) for option in (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD))
