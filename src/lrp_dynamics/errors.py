"""The one exception for mistakes that a user can mend."""


class UserError(ValueError):
    """A mistake in the input, told in one sentence: what was found, what was expected, and what to do.

    The command line prints the sentence without a traceback and exits with status 2.
    """
