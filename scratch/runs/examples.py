"""The examples of a run, which may come out of other runs."""

from scratch.models.system import find_system
from scratch.runs.references import references_of
from scratch.runs.run import Run
from scratch.runs.trained import Trained


def load_examples(options, download=False):
    """The examples that the options of a run choose: an object with `name`, `train`, `held_out` and `describe()`
    (models/system.py). Raises InputError or DataError if they cannot be loaded."""
    runs = {}
    for option, reference in references_of(options).items():
        trained = Trained(Run.open(reference["folder"]), options["device"])
        runs[option] = trained, load_examples(trained.options, download)
    system = find_system(options["model"])
    return system.load_data(options, download, runs) if runs else system.load_data(options, download)
