"""The options of training: its examples, its length, its device. Those of the optimisers are in optim.py."""

from data_utils import MOST_DRAWN, NAMES
from scratch.optim import CLIP_NORM, LR, OPTIMIZER
from scratch.options.option import Choice, Flag, Option, Text, Whole, listed

LEAST_UPDATES = 800  # without --epochs and --steps: 33 pictures of CIFAR-10 then come back at 21 dB (vqvae) to 35 (ae)
FEW_EPOCHS, UPDATES_BETWEEN = 20, 25  # so few epochs are all saved and printed; of more, one every so many updates

IMAGE_SIZE = Option("image_size", Whole(1, 4096), None, "side of the images in pixels; none: the data's own",
                    group="images")
LIMIT = Option("limit", Whole(1, 10**9), None, "use only the first N images of each split", group="images")
DRAWN = Option("drawn", Whole(1, MOST_DRAWN), None, "how many training images of shapes are drawn; none: 10000",
               group="images")
WITHOUT = Option("without", Text("words such as 'red triangle'", "WORDS"), None, "words such as \"red triangle\": "
                 "shapes that show them together are left out of training", group="images")
SKIP_UNREADABLE = Option("skip_unreadable", Flag(), False, "pass over pictures of a folder that cannot be read, and "
                         "name them", group="images")
IMAGES = (
    Option("data", Text("a name such as shapes", "NAME"), "shapes",
           f"the images: {listed(NAMES, 'or')}", group="images"),
    Option("data_root", Text("a folder", "DIR"), "data", "folder of torchvision's data sets", may_change=True,
           group="images"),
    IMAGE_SIZE,
    LIMIT,
    DRAWN,
    WITHOUT,
    SKIP_UNREADABLE,
)

TRAINING = (
    Option("epochs", Whole(1), 6, "epochs in all, also those before resuming; if neither epochs nor steps are given, "
           f"at least as many as make {LEAST_UPDATES} updates; of more than {FEW_EPOCHS}, one is printed and saved "
           f"every {UPDATES_BETWEEN} updates", may_change=True, optional=True),
    Option("steps", Whole(1), None, "updates in all, in place of epochs", may_change=True),
    Option("log_steps", Whole(1), None, "write the means over every N updates to steps.jsonl"),
    Option("tensorboard", Flag(), False, "write what metrics.jsonl and steps.jsonl hold to an event file, too; needs "
           "the package tensorboard", may_change=True),
    Option("batch_size", Whole(1), 64, "images in a batch"),
    LR,
    OPTIMIZER,
    CLIP_NORM,
    Option("keep", Choice(("last", "best")), "last", "best: beside the last weights, keep those of the epoch with the "
           "lowest held-out loss, as best.safetensors"),
    Option("patience", Whole(1), None, "stop after N epochs in which the held-out loss was not below its lowest",
           may_change=True),
    Option("seed", Whole(0), 0, "seed of the weights, the order of the images and the noise"),
)

MACHINE = (
    Option("device", Text("cpu, gpu or gpu:N", "NAME"), "cpu", "the device: cpu, gpu or gpu:N", may_change=True,
           group="machine"),
    Option("dtype", Choice(("float32", "float64")), "float32", "the precision of all numbers", group="machine"),
    Option("workers", Whole(1, 1024), None, "threads that share a batch on the CPU; none: one for every 16 images, at "
           "most one per core", may_change=True, group="machine"),
    Option("plain", Flag(), False, "run the plain forms, without the faster ones of scratch/accelerate",
           may_change=True, group="machine"),
)
