"""Pairs of an encoder and a decoder that mirror each other, one file a family."""
