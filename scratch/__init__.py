"""Autoencoders with every derivative written by hand, on NumPy or CuPy. Start reading at layers/conv_definition.py."""
