"""Every option of a model or a run: its default, unless the preset sets it, unless it was given.

Nothing that is given is ignored. An unknown name, a value of another kind and an option that has no effect beside the
others raise InputError, which names what was given and what exists.
"""

import math

from scratch.models.system import find_system, systems
from scratch.options.errors import InputError
from scratch.options.option import Choice, Option, listed, nearest
from scratch.options.presets import PRESETS, preset_for
from scratch.options.training import LEAST_UPDATES, MACHINE, TRAINING

PRESET = Option("preset", Choice(PRESETS), "small", "the recipe: the values of all options that are not given",
                group="training")


def with_suboptions(options):
    """{name: Option} of the options and, after each Choice, of the options that count only with one of its names."""
    found = {}
    for option in options:
        found[option.name] = option
        if isinstance(option.kind, Choice):
            for name in option.kind.names:
                found |= with_suboptions(option.kind.options_of(name))
    return found


def model_options(system):
    """{name: Option} of all that `build` takes for the System, without the preset."""
    return with_suboptions(system.options)


def run_options(system):
    """{name: Option} of all that `train` takes for the System."""
    return {**with_suboptions((PRESET, *system.data_options, *TRAINING, *MACHINE)), **model_options(system)}


def check_names(system, given, known):
    """Raise InputError for the name of an option that the system does not have."""
    for name in given:
        if name in known:
            continue
        owners = [other.name for other in systems().values() if name in run_options(other)]
        if system.name in owners:
            raise InputError("is an option of training, not of a model: give it to train.", name)
        if owners:
            raise InputError(f"is an option of {listed(owners)}; {system.name} has no such option.", name)
        raise InputError(f"unknown option {name!r}{nearest(name, known)}")


def check_dependent(options, given, known):
    """Raise InputError for a given option that counts only with another choice than the one made."""
    for option in known.values():
        if not isinstance(option.kind, Choice):
            continue
        counting = {name: option.kind.options_of(name) for name in option.kind.names}
        active = {sub.name for sub in counting[options[option.name]]}
        for sub in {sub.name for subs in counting.values() for sub in subs} - active:
            if sub in given:
                fitting = listed([name for name, subs in counting.items() if sub in {one.name for one in subs}], "or")
                raise InputError(f"counts only with {option.name} {fitting}, and {option.name} is "
                                 f"{options[option.name]}: leave one of them out.", sub)


def filled(system, known, given, preset):
    """{name: value} of every known option: the one given, or the preset's, or the system's, or the default; checked."""
    recipe = {**system.recommended, **preset_for(system.name, preset).values(system.name)}
    chosen = {name: known[name].check(value) for name, value in given.items()}
    options = {name: option.default for name, option in known.items()}
    options |= {name: value for name, value in recipe.items() if name in known}
    return with_one_end(options, chosen)


def with_one_end(options, chosen):
    """The options with those that were chosen. `steps` replaces `epochs`, and `epochs` replaces `steps`."""
    chosen = {name: value for name, value in chosen.items() if value is not None or name not in ("steps", "epochs")}
    if {"steps", "epochs"} <= chosen.keys():
        raise InputError("steps and epochs both say when training ends: leave one of them out.")
    one_end = {"epochs": None} if "steps" in chosen else {"steps": None} if "epochs" in chosen else {}
    return {**options, **{name: value for name, value in one_end.items() if name in options}, **chosen}


def resolve(model, given, known=run_options):
    """{"model": name, option: value, …} with every option of a run, from those given. Raises InputError.

    known   run_options, or model_options for a model alone; in both cases `preset` may be given as well
    """
    system = find_system(model)
    given, options = dict(given), known(system)
    preset = given.pop("preset", None)
    preset = PRESET.check(PRESET.default if preset is None else preset)
    check_names(system, given, options)
    found = filled(system, options, given, preset)
    check_dependent(found, given, options)
    system.check(found, given)
    return {"model": model, **found, "preset": preset}


def long_enough(options, given, images):
    """The options of a new run on so many training images. Where neither epochs nor steps were given and the default
    epochs make fewer than LEAST_UPDATES updates, as with a small folder of pictures, there are more of them."""
    if options["epochs"] is None or any(given.get(name) is not None for name in ("epochs", "steps")):
        return options
    an_epoch = math.ceil(images / options["batch_size"])
    return {**options, "epochs": max(options["epochs"], math.ceil(LEAST_UPDATES / an_epoch))}


def resolve_model(model, given):
    """`resolve` for a model alone: every option that `build` needs."""
    return resolve(model, given, model_options)


def resolve_resumed(options, given):
    """The options of a run that is continued: its own, replaced by those given. Raises InputError if one is given that
    may not change."""
    system = find_system(options["model"])
    known = run_options(system)
    check_names(system, given, known)
    for name in given:
        if not known[name].may_change:
            may = ", ".join(option.name for option in known.values() if option.may_change)
            raise InputError(f"cannot change when a run is continued: only {may} can.", name)
    return with_one_end(options, {name: known[name].check(value) for name, value in given.items()})


def checked(options):
    """The options of a run as a file holds them, each checked. Raises InputError if one is unknown, missing or of
    another kind, or if options exclude each other."""
    if not isinstance(options, dict):
        raise InputError(f"expected options by name, got {type(options).__name__}.")
    system = find_system(options.get("model"))
    known, given = run_options(system), {name: value for name, value in options.items() if name != "model"}
    check_names(system, given, known)
    if missing := [name for name in known if name not in given]:
        raise InputError(f"is missing among the options of a {system.name}.", missing[0])
    found = {name: known[name].check(value) for name, value in given.items()}
    preset_for(system.name, found["preset"])
    if (found["epochs"] is None) == (found["steps"] is None):
        raise InputError("expected either epochs or steps to say when training ends.")
    system.check(found, ())
    return {"model": options["model"], **found}
