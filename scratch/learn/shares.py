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


def terms_of(function, name, variables, gradients):
    """{what a summand comes through: its share} of a variable of a right function; {} if it is not such a sum.

    A summand is called after the gradients that stand in it, such as dvar. `gradients` is {variable: its name there}.
    `variables` are those at the function's end. Where they have changed in between, the shares do not add up to the
    variable, and nothing is returned.
    """
    terms, right = {}, np.asarray(variables[name])
    for sign, summand in sums_of(function).get(name, ()):
        through = [gradients[node.id] for node in ast.walk(summand)
                   if isinstance(node, ast.Name) and node.id in gradients]
        is_sum = any(isinstance(node, ast.Attribute) and node.attr == "sum" for node in ast.walk(summand))
        title = " and ".join(dict.fromkeys(through)) + (" (summed)" if is_sum else "")
        expression = compile(ast.fix_missing_locations(ast.Expression(summand)), "<summand>", "eval")
        share = sign * np.asarray(eval(expression, {**function.__globals__, **variables}))  # a line of ours, no user's
        if not title or title in terms:
            return {}
        terms[title] = share
    total = np.asarray(sum(terms.values()))
    if not terms or total.size != right.size or not np.allclose(total.ravel(), right.ravel(), rtol=1e-9, atol=1e-12):
        return {}
    return {title: np.broadcast_to(share, total.shape).reshape(right.shape) for title, share in terms.items()}


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
