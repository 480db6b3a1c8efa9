"""The error for input that cannot be used."""


class InputError(ValueError):
    """What was given, what was expected and what to do, in one sentence.

    If the error is about an option, `option` is its name as Python writes it. The message then begins with the value or
    with a verb, and str() puts the name in front of it. The command line prints the sentence without a traceback,
    writes `--the-option` for the name, and exits with status 2.
    """

    def __init__(self, message, option=None):
        super().__init__(message)
        self.message, self.option = message, option

    def __str__(self):
        return f"{self.option} {self.message}" if self.option else str(self.message)
