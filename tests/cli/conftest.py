"""The command lines as fixtures (tests/support/command_line.py)."""

from tests.support.command_line import finished_runs, scratch, trained  # noqa: F401
