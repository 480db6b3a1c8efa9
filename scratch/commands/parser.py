"""Every command of `python -m scratch` with its options.

A module that holds commands is imported only when one of them is asked for, so `--help` needs no more than their names.
"""

from importlib import import_module

from scratch.commands.cli import command_in, top_parser

COMMANDS = {  # module: {command: what it does, as the module says it too}
    "train": {
        "train": "Train a model, or continue a run.",
    },
    "dalle": {
        "dalle": "Words to pictures, from nothing: learn codes of shapes, learn to write them after captions, draw a "
                 "page.",
    },
    "listing": {
        "runs": "List the runs in a folder: model, data, epochs, held-out figures and date.",
    },
    "report": {
        "report": "Write one self-contained page of HTML about runs: configuration, curves, pictures, codes, measures.",
    },
    "sweep": {
        "sweep": "Train a run for every combination of options, and compare them in a table and in pictures.",
    },
    "evaluate": {
        "evaluate": "Print every loss term, rate, distortion, ELBO, PSNR, SSIM, codes or units in use, and the gain in "
                    "denoising.",
        "curves": "Draw metrics of several runs over their epochs, in one figure.",
    },
    "pictures": {
        "reconstruct": "Draw held-out images over their reconstructions, and print the PSNR over all of them.",
        "sample": "Draw new images, from the simple priors that the run's model has, or from codes that a learned "
                  "prior writes.",
        "complete": "Keep the upper part of held-out images, as codes, and let a learned prior write the rest.",
        "likelihood": "Print the bits of held-out images' codes by a learned prior; draw the most and the least likely "
                      "images.",
        "variations": "Draw images from several draws of one image's code.",
        "interpolate": "Draw the way between two images through the latent space.",
    },
    "codes": {
        "encode": "Write the latents of images to a .npz: z or μ (N, Z) as `latents`, or code indices (N, h, w) as "
                  "`codes`.",
        "decode": "Decode the latents that `encode` wrote: write the images (uint8) to a .npz and the first of them to "
                  "a picture.",
        "bits": "Print the bits of held-out images as codes, as JPEG of the same error, and as PNG.",
        "pca": "Print and draw how much of the images' variance each run explains, beside PCA with as many components.",
    },
    "judge": {
        "judge": "Print which words of captions a prior's images show, and how often compositions left out of training "
                 "are right.",
    },
    "latents": {
        "traverse": "Draw what single dimensions of the code do to an image: those of the largest KL, or variance of "
                    "an AE's codes.",
        "corners": "Draw images decoded from codes between those of four images: a grid with the four in its corners.",
        "arithmetic": "Draw images of one value of a factor, with the mean difference to the codes of another value "
                      "added.",
        "aggregate": "Draw where the codes of the held-out images lie beside the prior; where a code is two numbers, "
                     "also a grid.",
        "mig": "Print and draw the mutual information of a VAE's dimensions and the known factors, and the gap (MIG).",
    },
    "downstream": {
        "probe": "Print the accuracy of a linear classifier on the latents, beside PCA of the same size, pixels and "
                 "chance.",
        "retrieve": "Print how often images and their nearest neighbours by latents share a label, beside PCA and "
                    "pixels; draw some.",
        "anomaly": "Print how well a run's scores tell images of another data set from its own (AUROC), and draw the "
                   "scores.",
        "downstream": "Print a Markdown table of the runs: probe, neighbours, anomaly detection and denoising.",
    },
    "gradcheck": {
        "gradcheck": "Compare every backward with finite differences.",
    },
    "learn": {
        "learn": "Exercises that mark themselves.",
    },
    "devices": {
        "devices": "List the devices that can compute, and what is missing for a GPU.",
    },
    "reference": {
        "options": "Print every option as a page of Markdown: what it takes, its default, its systems, its source.",
    },
}


def build_parser(argv=None):
    """The parser of all commands; each module in COMMANDS adds its own. Of a parser that is to read the words `argv`,
    commands that they do not ask for have a name and a sentence, and no options."""
    parser = top_parser("scratch", "Autoencoders with every derivative written by hand.",
                        "python -m scratch train vqvae")
    asked = command_in(argv or ())
    for module, commands in COMMANDS.items():
        if argv is None or asked in commands:
            import_module(f"scratch.commands.{module}").add(parser.commands)
        else:
            for name, summary in commands.items():
                parser.commands.add_parser(name, help=summary)
    return parser
