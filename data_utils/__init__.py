"""Images to learn from: drawn shapes, the well-known small sets, a folder of pictures, or an array of your own.

    data = load("shapes")
    for index in batches(len(data.train), batch_size=64, seed=0, epoch=0):
        x = to_float(data.train[index], np.float32)    # (64, 32, 32, 3), values in [0, 1]

Only NumPy and Pillow are needed; torchvision is imported to download a set, and for SVHN.
"""

from data_utils.arrays import as_images, from_array
from data_utils.captions import KINDS, captions, captions_of, composed, meaning, word_indices
from data_utils.core import Data, batches, to_float
from data_utils.errors import DataError, printable
from data_utils.loading import MOST_DRAWN, NAMES, load
from data_utils.shapes import draw, random_factors, shapes
from data_utils.tokenizer import Tokenizer

__all__ = [
    "KINDS", "MOST_DRAWN", "NAMES", "Data", "DataError", "Tokenizer", "as_images", "batches", "captions",
    "captions_of", "composed", "draw", "from_array", "load", "meaning", "printable", "random_factors", "shapes",
    "to_float", "word_indices",
]
