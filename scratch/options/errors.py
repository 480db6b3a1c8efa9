"""The one exception that is meant for the person at the keyboard."""


class UsageError(Exception):
    """What was given, what was expected and what to do, in one sentence.

    The command line prints it without a traceback and exits with status 2.
    """
