"""Measures of trained models and of their codes: models and arrays in, numbers out."""
