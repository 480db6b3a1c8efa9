"""What a run's files say when it is opened: its config, and where it stopped."""

from pathlib import Path

from data_utils import printable
from scratch.models.system import find_system
from scratch.options.errors import InputError
from scratch.runs import descriptions as described
from scratch.runs.descriptions import CONFIG, POSITION
from scratch.runs.files import parsed, present, read_header
from scratch.runs.migrate import migrated, migrated_position
from scratch.runs.schema import Mismatch


class NeverSaved(InputError):
    """The folder holds the config of a run, in `config`, but nothing to continue from."""

    def __init__(self, message, config):
        super().__init__(message)
        self.config = config


def is_config(path):
    """Did train write this config.json?"""
    try:
        CONFIG.read(path)
    except InputError:
        return False
    return True


def checked_config(config, path):
    """The config of a run, described as CONFIG, with every option of its model. `path` says where it stands."""
    try:
        config = migrated(config)
        described.check_shape(config["data"]["image_shape"], find_system(config["options"]["model"]).axes)
        return config
    except Mismatch as mismatch:
        raise InputError(f"{printable(path)}: {mismatch}: {CONFIG.advice}.") from None
    except InputError as error:
        where = f"options.{error.option}" if error.option else "options:"
        text = printable(error.message).removesuffix(".")
        raise InputError(f"{printable(path)}: {where} {text}{' To mend it' if text.endswith('?') else ''}: "
                         f"{CONFIG.advice}."
                         ) from None


def checked_resume(folder):
    """The path of a run's resume.safetensors. Raises InputError, or its subclass NeverSaved, if there is none."""
    path = Path(folder) / "resume.safetensors"
    if not present(path):
        raise nothing_to_resume(Path(folder))
    return path


def nothing_to_resume(folder):
    """The InputError for a folder without a resume.safetensors."""
    path = folder / "config.json"
    if present(path) and not present(folder / "checkpoint.safetensors"):
        config = checked_config(CONFIG.read(path), path)
        return NeverSaved(f"{printable(folder)} holds a run that was never saved: begin it anew.", config)
    return InputError(f"{printable(folder / 'resume.safetensors')} does not exist: name a run that train has saved.")


def read_position(path):
    """(config, position) of a resume.safetensors, from its header alone."""
    metadata = read_header(path)
    if metadata.get("format") != described.RESUME_FORMAT or not {"config", "position"} <= metadata.keys():
        raise InputError(f"{printable(path)} was not written by train: name a run that it wrote.")
    config = checked_config(CONFIG.checked(metadata["config"], f"{path}, config"), f"{path}, config")
    place = f"{printable(path)}, position"
    try:
        position = migrated_position(parsed(metadata["position"]))
    except ValueError as error:
        raise InputError(f"{place} is not JSON ({printable(error)}): {POSITION.advice}.") from None
    POSITION.check(position, place)
    described.check_position(position, config, place)
    return config, position
