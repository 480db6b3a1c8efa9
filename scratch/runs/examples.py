"""The examples of a run, which may come out of other runs."""

from data_utils import printable
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.runs.references import references_of
from scratch.runs.run import Run, describe_data
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


def examples_of(trained, options=None, download=False):
    """The examples of a finished run, or those that other options choose. Raises InputError where their captions have
    other tokens than those that the run has learned: then they, or its config.json, are not what they were."""
    data = load_examples(options or trained.options, download)
    if describe_data(data).get("merges") != trained.run.config["data"].get("merges"):
        raise InputError(f"the captions of {printable(data.name)} have other tokens than "
                         f"{printable(trained.run.folder / 'config.json')} says: put back what has changed, or train "
                         f"again.")
    return data


def completed(options, data):
    """The options of a run with those that follow from its examples. Raises InputError for one that was given another
    value."""
    for name, value in data.determines.items():
        if options.get(name) not in (None, value):
            raise InputError(f"is {options[name]}, and {printable(data.name)} has {value}: leave it out.", name)
    return {**options, **data.determines}
