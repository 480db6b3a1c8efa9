"""A formula that a class applies to arrays number by number, marked as such."""


class elementwise(staticmethod):
    """Marks a function as an elementwise formula of a class:

        class Tanh(Module):
            derivative = elementwise(tanh_backward)

    and `self.derivative(dy, y)` calls it, as a staticmethod would. The mark says that each number of the result depends
    on the numbers at the same place alone, so that one kernel of a GPU can compute all of it (accelerate/gpu/forms.py).
    Such a function has operators, ufuncs, where and clip; no shape, no index, no sum. What changes from call to call
    is an argument, a number too.
    """
