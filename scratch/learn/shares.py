"""What is known about a right gradient, so that a wrong one can be named: the terms of its sum, and sizes by letter."""

import ast
import inspect
import math
import re
import textwrap
from functools import cache

import numpy as np


@cache
def sums_of(function):
    """{variable: [(sign, summand)]} of the assignments in a function whose right side is a sum, as expressions."""
    found = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            if isinstance(value, ast.Call) and getattr(value.func, "attr", "") == "reshape":
                value = value.func.value  # (a + b).reshape(...)
            summands = list(summands_of(value))
            if len(summands) > 1:
                found[node.targets[0].id] = summands
    return found


def summands_of(tree, sign=1):
    """The summands of a + b − c, and of a (b − c), with their signs."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Add | ast.Sub):
        yield from summands_of(tree.left, sign)
        yield from summands_of(tree.right, sign if isinstance(tree.op, ast.Add) else -sign)
    elif isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        for of_right, right in summands_of(tree.right, sign):
            yield of_right, ast.BinOp(tree.left, ast.Mult(), right)
    else:
        yield sign, tree


def terms_of(function, name, right, variables, called):
    """{what a summand is called: its share} of a variable of a right function; {} if the variable is no such sum.

    right       the variable's value
    variables   those from which the summands are computed; if one of them has changed in between, the shares do not add
                up to `right`, and nothing is returned
    called      a function that gives the name of a summand, "" for none
    """
    terms = {}
    for sign, summand in sums_of(function).get(name, ()):
        title = called(summand)
        if not title or title in terms:
            return {}
        expression = compile(ast.fix_missing_locations(ast.Expression(summand)), "<summand>", "eval")
        terms[title] = sign * np.asarray(eval(expression, {**function.__globals__, **variables}))  # a line of ours
    total = np.asarray(sum(terms.values()))
    if not terms or total.size != right.size or not np.allclose(total.ravel(), right.ravel(), rtol=1e-9, atol=1e-12):
        return {}
    return {title: np.broadcast_to(share, total.shape).reshape(right.shape) for title, share in terms.items()}


def by_names(names, other=""):
    """How a summand is called: after the variables in it that are in {variable: its name then}; `other` without any."""

    def called(summand):
        nodes = list(ast.walk(summand))
        found = [names[node.id] for node in nodes if isinstance(node, ast.Name) and node.id in names]
        is_sum = any(isinstance(node, ast.Attribute) and node.attr == "sum" for node in nodes)
        return " and ".join(dict.fromkeys(found)) + (" (summed)" if is_sum else "") if found else other

    return called


def sizes_of(text, arrays):
    """{letter: size} of the shapes that an exercise's text states, such as "x (N, I), w (I, O)", for these arrays."""
    sizes = {}
    for names, letters in re.findall(r"((?:\w+, )*\w+) \(([\w·/,. ]+)\)", text):
        letters = [letter.strip() for letter in letters.split(",") if letter.strip()]
        for name in names.split(", "):
            if letters[-1:] == ["..."] and np.ndim(arrays.get(name, 0)):
                sizes |= {letters[0]: len(arrays[name]), "numbers in an image": math.prod(arrays[name].shape[1:])}
            elif np.ndim(arrays.get(name, 0)) == len(letters):
                sizes |= {letter: size for letter, size in zip(letters, np.shape(arrays.get(name, 0)), strict=True)
                          if re.fullmatch(r"[A-Z]+", letter)}
    return sizes
