"""The exceptions for mistakes that a user can mend."""


class UserError(ValueError):
    """A mistake in the input, told in one sentence: what was found, what was expected, and what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """


class StorageError(UserError):
    """A file cannot be written now, because it is in use or the disk is full; what was written before is kept.

    Other than most mistakes it goes away by itself, so that nothing needs to be thrown away because of it.
    """
