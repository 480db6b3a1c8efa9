"""The command `judge`: do generated shapes show what their captions ask for?"""

from data_utils import printable
from scratch.commands.cli import say, say_json
from scratch.commands.options import whole
from scratch.commands.shared import add_run_command, open_run
from scratch.commands.writing import add_writing_options, choosing, open_prior
from scratch.instruments import words
from scratch.models.judge import Judge
from scratch.models.system import find_system
from scratch.options.errors import InputError


def add(subparsers):
    """The command and its options."""
    command = add_run_command(subparsers, "judge", judge, data=False, about_images=False)
    command.add_argument("--by", required=True, metavar="RUN", help="a run of judge, which reads words off images")
    command.add_argument("--count", type=whole(2), default=1000, metavar="N",
                         help="images whose captions are drawn (default: 1000)")
    command.add_argument("--without", metavar="WORDS", help="compositions to look at on their own, such as \"red "
                                                            "triangle\" (default: those that training left out)")
    command.add_argument("--json", action="store_true", help="print the numbers as JSON")
    add_writing_options(command, of_text=False)


def judge(arguments):
    """Print which words of captions a prior's images show, and how often compositions left out of training are right.

    Beside them stand real, reconstructed and shuffled images. It also prints whether images are copies of training
    images, and how much they differ.
    """
    trained = open_prior(arguments)
    given = choosing(arguments, trained)
    reader = open_run(arguments, arguments.by)
    if not isinstance(reader.model, Judge):
        raise InputError(f"{printable(arguments.by)} is a run of {reader.options['model']}: name a run of train judge.",
                         "by")
    decoder = trained.referred("of")
    data = decoder.options["data"]
    if trained.model.text is None or not data.startswith("shapes"):
        raise InputError(f"judge reads the words of shapes, and {printable(trained.run.folder)} was trained on "
                         f"{printable(data)} {'with' if trained.model.text else 'without'} captions: name a run of "
                         f"train prior --given caption over codes of shapes.")
    if reader.model.side != decoder.shape[0]:
        raise InputError(f"is a judge of {reader.model.side} pixels, and the images have {decoder.shape[0]}: train it "
                         f"with --image-size {decoder.shape[0]}.", "by")
    without = arguments.without or trained.options["without"] or decoder.options["without"]
    found = words.judgement(trained, decoder, reader, training_images(trained, decoder), without, arguments.count,
                            arguments.seed, **given)
    if arguments.json:
        say_json(found)
    else:
        report(found)
    return 0


def training_images(trained, decoder):
    """The images whose codes a prior learned from, as floats."""
    options = {**decoder.options, **{name: trained.options[name] for name in ("drawn", "without")
                                     if trained.options[name] is not None}}
    return decoder.floats(find_system(decoder.options["model"]).load_data(options).train)


def report(found):
    """Print what `judgement` found."""
    for by, title in (("judge", "by the judge"), ("pixels", "measured on the pixels")):
        kinds = list(found["words"]["real images"][by])
        width = max(map(len, found["words"]))
        say(f"{title:{width}}" + "".join(f"{kind:>9}" for kind in kinds))
        for name, table in found["words"].items():
            say(f"{name:{width}}" + "".join(f"{table[by][kind]:9.1%}" for kind in kinds))
        say()
    for name, what in (("nearest", "Distance to the nearest training image, median"),
                       ("diversity", "Distance of two images of one caption, mean")):
        say(f"{what}: " + ", ".join(f"{of} {value:.4f}" for of, value in found[name].items()) + ".")
    say("Distances are root mean squares per number of an image, whose numbers lie in [0, 1].")
