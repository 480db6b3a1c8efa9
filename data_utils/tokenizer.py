"""From text to tokens and back: byte-pair encoding, learned from captions.

Text is bytes (UTF-8), and the first 256 tokens are the bytes, so any text has tokens. Training then looks for the pair
of neighbouring tokens that occurs most often, makes it a new token, and does so again (Sennrich et al. 2016,
arXiv:1508.07909; on bytes: Radford et al. 2019). Pairs do not cross from one word to the next. A word is taken together
with the space before it.
"""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise

from data_utils.errors import DataError, integer, shown

BYTES = 256
MOST_BYTES = 2**24  # of all tokens together
WORD = re.compile(r" ?\S+|\s+(?!\S)|\s")


class Tokenizer:
    """Byte-pair encoding with the pairs ``merges``, in the order in which they were learned.

    merges   pairs of tokens; pair i becomes the token 256 + i

    Raises DataError for a pair of tokens that do not exist yet at its place, and for tokens of more than MOST_BYTES.
    """

    def __init__(self, merges: Iterable[tuple[int, int]] = ()):
        self.merges = [tuple(pair) for pair in merges]
        self.spelling = [bytes([byte]) for byte in range(BYTES)]  # of each token, in bytes
        size = BYTES
        for number, pair in enumerate(self.merges):
            known = BYTES + number
            if len(pair) != 2 or not all(isinstance(one, int) and 0 <= one < known for one in pair):
                raise DataError(f"the pair {number} of the tokenizer is {pair}: expected two tokens from 0 to "
                                f"{known - 1}")
            size += len(self.spelling[pair[0]]) + len(self.spelling[pair[1]])
            if size > MOST_BYTES:
                raise DataError(f"the tokens up to pair {number} of the tokenizer have {size} bytes: expected at most "
                                f"{MOST_BYTES}")
            self.spelling.append(self.spelling[pair[0]] + self.spelling[pair[1]])
        self.rank = {pair: number for number, pair in enumerate(self.merges)}
        self.known_words: dict[str, tuple[int, ...]] = {}

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return len(self.spelling)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> "Tokenizer":
        """Learn pairs from texts, until there are ``vocabulary`` tokens, or no pair occurs twice.

        Of equally frequent pairs the one with the smallest numbers wins, so the same texts give the same tokens.

        Raises DataError unless vocabulary is an integer ≥ 256.
        """
        vocabulary = integer(vocabulary, "a vocabulary of", BYTES)
        counts = Counter(word for text in texts for word in WORD.findall(text))
        words = {word: list(word.encode()) for word in counts}
        merges = []
        while BYTES + len(merges) < vocabulary:
            pairs = Counter()
            for word, tokens in words.items():
                for pair in pairwise(tokens):
                    pairs[pair] += counts[word]
            if not pairs:
                break
            best = min(pairs, key=lambda pair: (-pairs[pair], pair))
            if pairs[best] < 2:
                break
            words = {word: _merged(tokens, best, BYTES + len(merges)) for word, tokens in words.items()}
            merges.append(best)
        return cls(merges)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text: in each word the pair that was learned first is merged first.

        Raises DataError for half of a surrogate pair, which has no bytes.
        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"the text {shown(text)} is no Unicode ({error.reason}): expected whole characters"
                            ) from error
        return [token for word in WORD.findall(text) for token in self._tokens_of(word)]

    def _tokens_of(self, word: str) -> tuple[int, ...]:
        if word not in self.known_words:
            tokens = list(word.encode())
            while len(tokens) > 1:
                best = min(pairwise(tokens), key=lambda pair: self.rank.get(pair, len(self.merges)))
                if best not in self.rank:
                    break
                tokens = _merged(tokens, best, BYTES + self.rank[best])
            self.known_words[word] = tuple(tokens)
        return self.known_words[word]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens. Bytes that are no UTF-8, as a model may write them, become "�".

        Raises DataError for a token that does not exist.
        """
        spelled = []
        for token in tokens:
            if not 0 <= token < self.vocabulary:
                raise DataError(f"the token {token} was given: expected 0 to {self.vocabulary - 1}")
            spelled.append(self.spelling[token])
        return b"".join(spelled).decode(errors="replace")


def _merged(tokens: list[int], pair: tuple[int, int], new: int) -> list[int]:
    """The tokens with ``new`` in place of each occurrence of the pair, from left to right."""
    found, at = [], 0
    while at < len(tokens):
        if tuple(tokens[at : at + 2]) == pair:
            found.append(new)
            at += 2
        else:
            found.append(tokens[at])
            at += 1
    return found
