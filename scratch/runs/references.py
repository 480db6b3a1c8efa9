"""A run may refer to finished runs, such as the one whose codes its model learns: which, and with which weights.

config.json of such a run holds, for each option that names a folder,

    references: {option: {"folder": ..., "fingerprint": SHA-256 of that run's weights}}

A run whose reference is missing, or has other weights by now, cannot be opened with its model or continued.
"""

from data_utils import printable
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.options.resolve import run_options
from scratch.runs.files import present, read_tensors
from scratch.runs.latents import fingerprint_of
from scratch.runs.run import Run


def references_of(options):
    """What config.json says of the runs that a run of these options refers to. Raises InputError if one of them is not
    named, or is not finished."""
    return {option: reference(option, folder)
            for option, folder in find_system(options["model"]).references(options).items()}


def reference(option, folder):
    """{"folder", "fingerprint"} of the finished run in a folder."""
    if folder is None:
        raise InputError("is missing: give it the folder of a finished run.", option)
    run = Run.open(folder)
    path = run.folder / "checkpoint.safetensors"
    if not present(path):
        raise InputError(f"{printable(folder)} has no checkpoint.safetensors: name a run that has finished an epoch.",
                         option)
    return {"folder": str(folder), "fingerprint": fingerprint_of(read_tensors(path))}


def check_references(run):
    """Raises InputError if a run that this one refers to is missing, or has other weights than it had."""
    kept, named = run.config.get("references", {}), find_system(run.options["model"]).references(run.options)
    if odd := kept.keys() ^ named.keys():
        raise InputError(f"{printable(run.folder)}: references and options differ in "
                         f"{printable(', '.join(sorted(odd)))}: restore its config.json, or train again.")
    for option, folder in named.items():
        movable = run_options(find_system(run.options["model"]))[option].may_change
        advice = "put it back, or " + (f"continue with its folder as {option}" if movable else "train again")
        if folder is None or not present(folder):
            raise InputError(f"{printable(run.folder)} refers by {option} to the run {printable(folder)}, which is not "
                             f"there: {advice}.")
        before, now = kept[option]["fingerprint"], reference(option, folder)["fingerprint"]
        if now != before:
            raise InputError(f"{printable(run.folder)} refers by {option} to the weights {printable(before[:12])}, and "
                             f"{printable(folder)} holds {now[:12]}: {advice}.")
