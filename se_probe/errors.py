"""The one exception that stands for a user's mistake or an input that cannot be used."""


class SeProbeError(Exception):
    """An input that se-probe cannot use.

    The message is one line: what was found, what was expected, what to do. The command line prints it
    and exits with 2; anything else that escapes is a defect.
    """
