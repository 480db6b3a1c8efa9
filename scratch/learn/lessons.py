"""The ten lessons and the exercises of each, in the order in which they are best done."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Lesson:
    """A lesson: its number, its title, and the names of its exercises."""

    number: int
    title: str
    exercises: tuple


LESSONS = tuple(Lesson(number, title, exercises) for number, (title, exercises) in enumerate((
    ("The chain rule and a linear layer", ("linear", "relu", "sigmoid")),
    ("Convolution and its transpose",
     ("conv_loops", "im2col", "col2im", "conv_im2col", "conv_transpose", "max_pool")),
    ("The autoencoder", ("squared_error", "bce_from_logits")),
    ("The VAE", ("reparameterize", "gaussian_kl", "score_function")),
    ("The VQ-VAE", ("nearest_code", "straight_through")),
    ("Codebooks that die, and what cures them", ("ema_codebook", "soft_assignment_entropy")),
    ("The discrete VAE", ("gumbel_softmax", "categorical_kl")),
    ("How gradients are checked", ("central_difference", "group_norm")),
    ("Adam, and the loop that makes it all learn", ("adam",)),
    ("Attention", ("layer_norm", "attention", "cross_entropy")),
), start=1))

NAMES = tuple(name for lesson in LESSONS for name in lesson.exercises)


def lesson_of(name):
    """The lesson to which an exercise belongs."""
    return next(lesson for lesson in LESSONS if name in lesson.exercises)
