"""Mistakes as they are made when a backward is written by hand, planted one at a time: is each caught, and named?"""
