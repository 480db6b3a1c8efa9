"""The one error that means: what was given cannot be used."""


class InputError(ValueError):
    """What was given, what was expected and what to do, in one sentence.

    `option` names the option that was given, as Python writes it, where the error is about one. The message then begins
    with its value or with a verb, and str() puts the name in front of it. The command line prints the sentence without
    a traceback, writes `--the-option` for the name, and exits with status 2.
    """

    def __init__(self, message, option=None):
        super().__init__(message)
        self.message, self.option = message, option

    def __str__(self):
        return f"{self.option} {self.message}" if self.option else str(self.message)
