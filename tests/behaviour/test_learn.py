"""The exercises: right solutions, templates to be filled in, and marks that tell a mistake from a rounding error."""

import ast
import doctest
import math
import re
from pathlib import Path

import numpy as np
import pytest

from scratch.bottlenecks import GaussianKL, GumbelSoftmax, Reparameterize, VectorQuantizer
from scratch.bottlenecks.codebook.moving_average import MovingAverages
from scratch.bottlenecks.codebook.soft_assignment import SoftAssignmentEntropy
from scratch.bottlenecks.gumbel_softmax import CategoricalKL
from scratch.bottlenecks.vector_quantizer import code_counts, nearest_codes, sums_by_index
from scratch.layers import Conv2d, ConvTranspose2d, GroupNorm, LayerNorm, Linear, MaxPool2d, ReLU, Sigmoid
from scratch.layers.attention import attend, attend_backward
from scratch.layers.patches import Window
from scratch.learn import check
from scratch.learn.comparison import ROUNDING
from scratch.learn.exercise import END, INSTEAD, YOURS, exercise
from scratch.learn.exercises.central_difference import central_difference
from scratch.learn.exercises.score_function import length, score_function
from scratch.learn.lessons import LESSONS, NAMES
from scratch.learn.marking import check_functions
from scratch.learn.report import Report
from scratch.losses import BernoulliFromLogits, CrossEntropy, SquaredError
from scratch.module import Parameter
from scratch.optim import Adam
from scratch.options.errors import InputError
from tests.support.closeness import assert_close
from tests.support.exercises import functions, line_of, report_of, solved

ROOT = Path(__file__).resolve().parents[2]
EXACT = 1e-12  # two ways of computing the same in float64


def each_case(name):
    """(inputs of the exercise's cases, its module), for each case."""
    module = exercise(name).module
    return [(inputs, module) for inputs in module.cases(np.random.default_rng(1))]


# --- the files --------------------------------------------------------------------------------------------------------


def test_every_file_of_exercises_belongs_to_a_lesson():
    files = {path.stem for path in (ROOT / "scratch/learn/exercises").glob("*.py")} - {"__init__"}
    assert files == set(NAMES) and len(NAMES) == len(set(NAMES)) == 26
    assert [lesson.number for lesson in LESSONS] == list(range(1, 11))


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_made_of_numpy_marks_hints_and_cases(name):
    task = exercise(name)
    imported = {alias.name for node in ast.walk(ast.parse(task.source)) if isinstance(node, ast.Import)
                for alias in node.names}
    assert imported == {"numpy"} and "from " not in re.sub(r'""".*?"""', "", task.text(solved=True), flags=re.S)
    marks = [line.strip() for line in task.source.split("\n") if line.strip() in (YOURS, INSTEAD, END)]
    assert marks == [YOURS, INSTEAD, END] * (len(marks) // 3) and marks
    assert 2 <= len(task.hints) <= 5 and len(task.title) < 50
    assert 1 in {np.shape(value)[0] for inputs, _ in each_case(name) for value in inputs.values() if np.ndim(value)}


@pytest.mark.parametrize("name", NAMES)
def test_a_template_asks_for_what_it_does_not_say(name):
    task = exercise(name)
    template, right = task.template("CHECK ME"), task.text(solved=True)
    assert template.startswith(f'# Exercise "{name}", lesson {task.lesson.number}.') and "CHECK ME" in template
    asked = [row for function in task.functions.values() for row in function.asked]
    assert asked and all(f"{row} = ...  # TODO" in template for row in asked)
    for text in (template, right):
        assert YOURS not in text and INSTEAD not in text and "HINTS" not in text and "cases" not in text
    assert "TODO" not in right
    for line in set(right.split("\n")) - set(template.split("\n")):
        assert line.strip() not in template.split("\n"), "the line that is to be found stands in the template"


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_a_text_are_right(name):
    module = exercise(name).module
    test = doctest.DocTestParser().get_doctest(module.__doc__, dict(vars(module)), name, None, 0)
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


def test_the_page_lists_the_exercises():
    """docs/reference/learn.md has this table; it is made from the files."""
    lines = ["| lesson | exercise | what it is | asked for |", "|---|---|---|---|"]
    for lesson in LESSONS:
        for name in lesson.exercises:
            task = exercise(name)
            asked = ", ".join(f"`{row}`" for function in task.functions.values() for row in function.asked)
            lines.append(f"| {lesson.number}. {lesson.title} | `{name}` | {task.title} | {asked} |")
    table = "\n".join(lines)
    assert table in (ROOT / "docs/reference/learn.md").read_text(encoding="utf-8"), f"put this table there:\n{table}"


# --- the solutions beside the package and finite differences ----------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if "backward" in exercise(name).functions
                                  and name != "straight_through"])
def test_a_solution_is_the_derivative(name):
    task = exercise(name)
    rng = np.random.default_rng(2)
    for inputs, module in each_case(name):
        if (name == "relu" and (inputs["x"] == 0).any()) or (name == "max_pool" and (inputs["x"] % 1 == 0).all()):
            continue  # at a kink
        if any(np.max(np.abs(value)) > 100 for value in inputs.values() if isinstance(value, np.ndarray)):
            continue  # there the function is a straight line, and steps are lost in rounding
        y, saved = module.forward(**inputs)
        dy = rng.standard_normal(np.shape(y))[()]
        gradients = module.backward(dy, saved)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for of, gradient in zip(task.functions["backward"].returned, gradients, strict=True):
            direction = rng.standard_normal(np.shape(gradient))

            def along(step, of=of, direction=direction, inputs=inputs, module=module, dy=dy):
                return np.sum(dy * module.forward(**inputs | {of[1:]: inputs[of[1:]] + step * direction})[0])

            numeric = (along(1e-5) - along(-1e-5)) / 2e-5
            assert abs(numeric - np.sum(gradient * direction)) <= 1e-7 * np.linalg.norm(gradient), of


def with_values(module, **values):
    """The module, whose parameters have these values."""
    for name, value in values.items():
        getattr(module, name).value[...] = value
    return module


def beside(module, inputs, outputs, gradients):
    """Compare the outputs of two forwards, then the gradients of both backwards under the same upstream gradients."""
    for ours, theirs in zip(outputs, gradients, strict=True):
        assert_close(np.asarray(ours), np.asarray(theirs), EXACT)


def module_of(name, inputs):
    """The package's operation of an exercise: a module with the exercise's parameters."""
    shape = {key: np.shape(value) for key, value in inputs.items()}
    f8 = {"dtype": np.float64}
    if name == "linear":
        return with_values(Linear(*shape["w"], **f8), weight=inputs["w"], bias=inputs["b"])
    if name in ("conv_loops", "conv_im2col"):
        KH, KW, C, O = shape["w"]
        module = Conv2d(C, O, (KH, KW), inputs["stride"], inputs["padding"], **f8)
        return with_values(module, weight=inputs["w"], bias=inputs["b"])
    if name == "conv_transpose":
        C, KH, KW, O = shape["w"]
        module = ConvTranspose2d(C, O, (KH, KW), inputs["stride"], inputs["padding"], **f8)
        return with_values(module, weight=inputs["w"], bias=inputs["b"])
    if name == "group_norm":
        module = GroupNorm(inputs["G"], *shape["w"], inputs["eps"], **f8)
        return with_values(module, weight=inputs["w"], bias=inputs["b"])
    if name == "layer_norm":
        module = LayerNorm(*shape["w"], inputs["eps"], **f8)
        return with_values(module, weight=inputs["w"], bias=inputs["b"])
    if name == "max_pool":
        return MaxPool2d(inputs["kernel_size"], inputs["stride"])
    return {"relu": ReLU, "sigmoid": Sigmoid, "reparameterize": Reparameterize, "gaussian_kl": GaussianKL,
            "gumbel_softmax": GumbelSoftmax, "categorical_kl": CategoricalKL, "squared_error": SquaredError,
            "bce_from_logits": BernoulliFromLogits, "cross_entropy": lambda: CrossEntropy(ignore_index=-1),
            "soft_assignment_entropy": lambda: SoftAssignmentEntropy(inputs["tau"])}[name]()


@pytest.mark.parametrize("name", [
    "linear", "relu", "sigmoid", "conv_loops", "conv_im2col", "conv_transpose", "max_pool", "squared_error",
    "bce_from_logits", "reparameterize", "gaussian_kl", "soft_assignment_entropy", "gumbel_softmax", "categorical_kl",
    "group_norm", "layer_norm", "cross_entropy"])
def test_a_solution_is_the_packages_operation(name):
    rng = np.random.default_rng(3)
    for inputs, module in each_case(name):
        y, saved = module.forward(**inputs)
        dy = rng.standard_normal(np.shape(y))[()]
        gradients = module.backward(dy, saved)
        theirs = module_of(name, inputs)
        taken = {"linear": "x", "conv_loops": "x", "conv_im2col": "x", "conv_transpose": "x", "group_norm": "x",
                 "layer_norm": "x", "max_pool": "x", "soft_assignment_entropy": "ze"}.get(name) or list(inputs)
        call = theirs.loss if hasattr(theirs, "loss") else theirs.forward
        assert_close(np.asarray(y), np.asarray(call(*(inputs[one] for one in taken))), 1e-11)
        back = theirs.backward(dy)
        back = list(back) if isinstance(back, tuple) else [back]
        if isinstance(getattr(theirs, "weight", None), Parameter):
            back += [theirs.weight.gradient(), theirs.bias.gradient()]
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        for ours, right in zip(gradients, back, strict=True):
            assert np.abs(ours - right).max() <= 1e-11 * max(1.0, np.abs(right).max())


def test_patches_are_the_packages():
    for inputs, module in each_case("im2col"):
        x, window = inputs["x"], Window(inputs["kernel_size"], inputs["stride"], inputs["padding"])
        patches = module.im2col(**inputs)
        assert (patches == window.im2col(x, window.positions(x.shape[1:3]))).all()
        also, saved = exercise("col2im").module.forward(**inputs)
        assert (also == patches).all()
        dx = exercise("col2im").module.backward(patches, saved)
        assert_close(dx, window.col2im(patches, x.shape[1:3]), EXACT)


def test_codes_are_the_packages():
    for inputs, module in each_case("nearest_code"):
        assert (module.nearest_code(**inputs) == nearest_codes(inputs["z"], inputs["e"])).all()
    for inputs, module in each_case("straight_through"):
        q, codebook_loss, commitment_loss, saved = module.forward(**inputs)
        dq = np.random.default_rng(4).standard_normal(q.shape)
        dz, de = module.backward(dq, 0.7, -1.3, saved)
        theirs = with_values(VectorQuantizer(*inputs["e"].shape, dtype=np.float64), codebook=inputs["e"])
        expected, terms = theirs.forward(inputs["z"])
        assert (q == expected).all()
        assert math.isclose(codebook_loss, terms["codebook"]) and math.isclose(commitment_loss, terms["commitment"])
        assert_close(dz, theirs.backward(dq, {"codebook": 0.7, "commitment": -1.3}), EXACT)
        assert_close(de, theirs.codebook.grad, EXACT)


def test_attention_is_the_packages():
    for inputs, module in each_case("attention"):
        o, saved = module.forward(**inputs)
        do = np.random.default_rng(4).standard_normal(o.shape)
        theirs, log_sums = attend(*inputs.values(), causal=True)
        assert_close(o, theirs, EXACT)
        right = attend_backward(do, *inputs.values(), theirs, log_sums, causal=True)
        for ours, expected in zip(module.backward(do, saved), right, strict=True):
            assert np.abs(ours - expected).max() <= EXACT * max(1.0, np.abs(expected).max())


def test_averages_and_adam_are_the_packages():
    rng = np.random.default_rng(5)
    module = exercise("ema_codebook").module
    averages, state = MovingAverages(np.zeros((4, 2)), 0.9), (np.zeros(4), np.zeros((4, 2)), 0.0)
    for _ in range(5):
        z, k = rng.standard_normal((9, 2)), rng.integers(0, 4, 9)
        *state, e = module.ema_codebook(*state, z, k, 0.9)
        averages.update(code_counts(k, 4), sums_by_index(z, k, 4))
        assert_close(e, averages.codes(), EXACT)
    theta, m, v = rng.standard_normal(6), np.zeros(6), np.zeros(6)
    parameter = Parameter(theta.copy())
    optimizer = Adam({"theta": parameter}, lr=0.1, betas=(0.8, 0.9), eps=1e-3)
    for t in range(1, 6):
        dtheta = rng.standard_normal(6)
        theta, m, v = exercise("adam").module.adam(theta, dtheta, m, v, t, 0.1, 0.8, 0.9, 1e-3)
        parameter.grad = dtheta
        optimizer.step()
        assert_close(theta, parameter.value, EXACT)


def test_estimates_are_of_the_derivative():
    """E[Σ z²] = Σ mu² + σ²: its derivatives are 2 mu by mu, and σ² by logvar. Five standard errors are allowed."""
    rng, mu, logvar = np.random.default_rng(6), np.array([0.5, -1.0]), np.array([0.0, -0.7])
    draws = [score_function(mu, logvar, mu + np.exp(0.5 * logvar) * rng.standard_normal((1000, 2)), length)
             for _ in range(100)]
    for estimates, right in zip(np.moveaxis(draws, 1, 0), (2 * mu, np.exp(logvar)), strict=True):
        error = estimates.std(axis=0) / math.sqrt(len(draws))
        assert (np.abs(estimates.mean(axis=0) - right) < 5 * error).all() and (error < 0.1).all()
    x = rng.standard_normal((2, 3))
    assert_close(central_difference(np.sin, x, np.ones((2, 3)), 1e-5), np.cos(x), 1e-9)


# --- marks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_solution_passes_and_a_template_does_not_yet(name):
    task = exercise(name)
    report = report_of(name)
    assert report.ok and bool(report) and not report.sentences(), str(report)
    assert {row.mark for row in report.rows} == {"exact"} and str(report).endswith(f"{name}: all right.")
    begun = check_functions(task, functions(name, task.template("")))
    assert not begun.ok and begun.usable and not begun.problems, str(begun)
    assert {row.mark for row in begun.rows} == {"to do"}
    assert "Everything marked TODO is still to do" in str(begun)


def plain_assignments():
    """(exercise, function, variable, line) of what a single line of a solution computes: no loop fills it, and it is no
    index."""
    for name in NAMES:
        for function in exercise(name).functions.values():
            for row in function.asked:
                lines = re.findall(rf"^ *{row} = .*$", exercise(name).text(solved=True), flags=re.M)
                if lines and not re.search(r"np\.zeros|np\.empty", lines[-1]) and row != "k":
                    yield name, function.name, row, lines[-1]


@pytest.mark.parametrize("name, function, row, line", plain_assignments())
def test_a_sign_or_a_factor_is_told_at_the_variable_that_has_it(name, function, row, line):
    indent, value = line.split(f"{row} = ")
    value = value.split("  #")[0]
    for times, words in ((-1, "opposite sign"), (2, "twice")):
        report = report_of(name, (line, f"{indent}{row} = {times} * ({value})"))
        found = next(one for one in report.rows if one.name == row and one.function == function)
        assert found.mark == "wrong" and words in found.finding and not found.follows, str(report)
        assert (found.line and f"{row} (line {found.line})" in str(report)) or report.ok
        others = [one for one in report.rows if not one.right and one is not found]
        assert all(one.follows == row for one in others), str(report)
        assert not report.ok or not found.returned


MISTAKES = [  # exercise, [(right, wrong)], words of the report
    ("linear", [("np.sum(dy, axis=0)", "np.mean(dy, axis=0)")], "1/N of the right gradient"),
    ("linear", [("dw = x.T @ dy", "dw = (x.T @ dy).T")], "has the shape (4, 3), expected (3, 4)"),
    ("linear", [("np.sum(dy, axis=0)", "np.sum(dy, axis=0, keepdims=True)")], "has the shape (1, 4), expected (4,)"),
    ("linear", [("dw = x.T @ dy", "dw = x @ dy")], "inner sizes of a matrix product have to be equal"),
    ("relu", [("x > 0", "x >= 0")], "where x = 0"),
    ("conv_loops", [("dx[:, row, col] += ", "dx[:, row, col] = ")], "keeps only what the last round wrote"),
    ("conv_loops", [("y[:, i, j] += ", "y[:, i, j] = ")], "keeps only what the last round wrote"),
    ("col2im", [("stride] += dpatches", "stride] = dpatches")], "dx follows from it: mend dpadded first"),
    ("max_pool", [("c] += dy", "c] = dy")], "For x (3, 7, 5, 1), kernel_size 2, stride 3 it is right"),
    ("squared_error", [(" / len(difference)", "")], "N times the right gradient"),
    ("squared_error", [("len(difference)\n    return dy", "difference.size\n    return dy")],
     "1/(numbers in an image) of the right gradient"),
    ("squared_error", [("dloss * 2", "2")], "without the upstream gradient"),
    ("bce_from_logits", [(" - delements * x", "")], "without the share of delements"),
    ("gaussian_kl", [(" - delements * 0.5", "")], "without the share of delements"),
    ("gaussian_kl", [("dvar * var", "dvar")], "the right gradient"),
    ("reparameterize", [("dsigma * 0.5 * sigma", "dsigma * sigma")], "twice"),
    ("reparameterize", [("dz * eps", "dz * np.random.standard_normal(dz.shape)")], "each time it is called"),
    ("straight_through", [("dq + ", "")], "without the share of q"),
    ("straight_through", [("np.add.at(de, k, dchosen)", "de[k] += dchosen")], "np.add.at adds each time"),
    ("straight_through", [("dchosen = dcodebook_loss", "dchosen = dq + dcodebook_loss")], "∂L/∂q"),
    ("nearest_code", [("np.argmin", "np.argmax")], "differs at"),
    ("nearest_code", [(" + np.sum(e**2, axis=1)", "")], "mend distances first"),
    ("nearest_code", [("np.argmin(distances, axis=1)", "1.0 * np.argmin(distances, axis=1)")], "expected integers"),
    ("ema_codebook", [("weight = decay * weight + (1 - decay)", "weight = 1.0")], "smoothed and e follow from it"),
    ("ema_codebook", [("counts = decay * counts + (1 - decay) * chosen.sum(axis=0)",
                       "counts *= decay; counts += (1 - decay) * chosen.sum(axis=0)")], "changes counts"),
    ("soft_assignment_entropy", [(", axis=1)\n    de", ", axis=0)\n    de")], "expected (7, 3)"),
    ("gumbel_softmax", [("da = dscaled / tau", "da = dscaled")], "tau times the right gradient"),
    ("gumbel_softmax", [(", axis=-1, keepdims=True))\n    da", "))\n    da")], "mend dscaled first"),
    ("categorical_kl", [("dlogp - p * np.sum", "dlogp + p * np.sum")], "da (line"),
    ("central_difference", [("moved = x.copy()", "moved = x")], "dx"),
    ("central_difference", [("moved[i] = x[i] - step", "moved[i] = x[i]"), ("(2 * step)", "step")],
     "to about 6 digits only"),
    ("group_norm", [(" + dvar * 2 * centred / M", "")], "without the share of dvar"),
    ("group_norm", [("(dcentred + dmu / M)", "dcentred")], "without the share of dmu"),
    ("layer_norm", [(" - x_hat * stretch", "")], "the difference is a + b · x"),
    ("layer_norm", [(" - shift", "")], "the difference is the same along axis 2"),
    ("layer_norm", [("np.mean(dx_hat, axis=-1", "np.mean(dx_hat, axis=1")], "mend shift first"),
    ("attention", [("da @ k / root", "da @ k")], "root times the right gradient"),
    ("attention", [("dp - np.sum(p * dp, axis=-1,", "dp - np.sum(p * dp, axis=1,")], "mend da first"),
    ("attention", [("dk = da.transpose(0, 2, 1) @ q", "dk = da @ q")], "dk (line"),
    ("cross_entropy", [(" - np.exp(logp) * np.sum(dlogp, axis=-1, keepdims=True)", "")],
     "the gradient of logp, not of a"),
    ("cross_entropy", [("dlogp - np.exp(logp) * np.sum(dlogp, axis=-1, keepdims=True)",
                        "(np.exp(logp) - one_hot) * delements[..., None]")],
     "not zero where it should be"),
    ("cross_entropy", [("dloss / N", "dloss / (N * T)")], "1/T of the right gradient"),
    ("adam", [("np.sqrt(v_hat) + eps", "np.sqrt(v_hat + eps)")], "theta (line"),
    ("adam", [("v = beta2 * v + ", "v = beta2 * v - ")], "with the share of dtheta of the opposite sign"),
    ("adam", [("m_hat = m / (1 - beta1**t)", "m_hat = m")], "theta follows from it: mend m_hat first"),
]


@pytest.mark.parametrize("name, changes, words", MISTAKES, ids=[f"{name}: {to[0][1]}" for name, to, _ in MISTAKES])
def test_a_mistake_is_found_and_told(name, changes, words):
    report = report_of(name, *changes)
    assert not report.ok and report.usable
    assert words in " ".join(str(report).split()), str(report)


def test_rounding_is_no_mistake():
    """Another order of sums and products, and another way to the same gradient, pass."""
    report = report_of("linear", ("dx = dy @ w.T", "dx = np.sum(dy[:, None] * w, axis=2)"))
    assert report.ok and report.rows[0].mark == "approximate" and 0 < report.rows[0].difference < report.rows[0].allowed
    assert report.rows[0].allowed <= ROUNDING * 100
    slightly = report_of("linear", ("dx = dy @ w.T", "dx = dy @ w.T * (1 + 1e-9)"))
    assert not slightly.ok and "to about 9 digits only" in str(slightly)


def test_what_is_returned_decides():
    """The variables between are help: whoever finds a shorter way need not have them."""
    steps = "    delements = np.full(a.shape, dloss / len(x))\n    dsoftplus = delements\n"
    other = report_of("bce_from_logits", (steps, ""),
                      ("dsoftplus * sigmoid(a) - delements * x", "dloss * (sigmoid(a) - x) / len(x)"))
    assert other.ok and [row.mark for row in other.rows[:2]] == ["left out", "left out"]
    unused = report_of("categorical_kl", ("(logp + np.log(K))", "(logp + np.log(K) + 5)"))
    assert unused.ok and "dp and dlogp are something else than the table expects" in str(unused)
    direct = report_of("linear", ("return dx, dw, db", "return dy @ w.T, x.T @ dy, dy.sum(axis=0) + 1"))
    assert [row.mark for row in direct.rows] == ["exact", "exact", "wrong"] and direct.rows[2].line


def test_what_is_computed_from_a_wrong_variable_is_not_told_twice():
    report = report_of("group_norm", ("dx_hat = dy * w.reshape(G, C // G)", "dx_hat = dy"),
                       ("dw = np.sum(dy * x_hat", "dw = np.sum(dy * centred"))
    text = " ".join(str(report).split())
    assert "dinverse, dvar, dcentred, dmu and dx follow from it: mend dx_hat first" in text
    assert text.count("(line ") == 2, "dw and dx_hat do not depend on each other"
    assert text.endswith("Begin with dw.")


def test_a_forward_that_was_given_has_to_stay_right():
    report = report_of("linear", ("y = x @ w + b", "y = x @ w"))
    assert not report.ok and report.rows[0].name == "y" and "was given, and was right" in str(report)


@pytest.mark.parametrize("changes, words", [
    ([("return dx, dw, db", "return dx, dw")], "backward returned 2 values, expected 3 values"),
    ([("return dx, dw, db", "pass")], "backward returned None"),
    ([("return dx, dw, db", "return dx")], "backward returned an array"),
    ([("return y, (x, w)", "return y")], "forward returned an array, expected 2 values: end it with `return y, saved`"),
    ([("return dx, dw, db", "return dx.tolist(), dw, db")], "is a list, expected a NumPy array of shape (5, 3)"),
    ([("return dx, dw, db", "return dx, None, db")], "is None, expected a NumPy array"),
    ([("return dx, dw, db", "return dx, dw, db.astype(int)")], "has the dtype int64, expected float64"),
    ([("return dx, dw, db", "return dx, dw, db > 0")], "has the dtype bool"),
    ([("return dx, dw, db", "return dx, dw, db.astype('float32')")], "has the dtype float32"),
    ([("return dx, dw, db", "return dx * np.nan, dw, db")], "is NaN or infinite at 15 of 15 places"),
    ([("x, w = saved", "x, w = saved; dy *= 2")], "changes dy"),
    ([("x, w = saved", "x, w = saved; x += 2")], "changes x"),
    ([("y = x @ w + b", "y = x @ w + b; w[0] = 0")], "forward changes w"),
    ([("def backward(dy, saved)", "def backward(dy)")], "cannot be called as backward(dy, saved)"),
    ([("dw = x.T @ dy", "dw = x.T @ dyy")], "stopped in line LINE, `dw = x.T @ dyy`: NameError"),
    ([("dw = x.T @ dy", "dw = backward(dy, saved)[1]")], "calls itself without end"),
    ([("dw = x.T @ dy", "raise SystemExit")], "ends the program"),
    ([("dw = x.T @ dy", "import torchy")], "No module named 'torchy'; NumPy and the standard library are enough"),
])
def test_what_a_function_can_get_wrong_besides_numbers(changes, words):
    report = report_of("linear", *changes)
    words = words.replace("LINE", str(line_of(solved("linear", *changes), changes[0][1])))
    assert not report.ok and report.usable and words in " ".join(str(report).split()), str(report)


def test_a_todo_that_stops_the_rest_is_no_error():
    report = report_of("conv_im2col", ("dP = rows @ w.reshape(KH * KW * C, O).T", "dP = ..."))
    marks = {row.name: row.mark for row in report.rows}
    assert marks == {"rows": "exact", "db": "exact", "dw": "exact", "dP": "to do", "dx": "not reached"}
    assert not report.ok and not report.problems and str(report).endswith("dP is still to do.")


def test_arguments_that_were_not_assigned_yet_are_not_marked():
    report = report_of("ema_codebook", ("sums = decay * sums", "sums = nothing * sums"))
    assert [row.mark for row in report.rows] == ["exact", *["not reached"] * 4]


def test_numpys_warnings_are_told():
    report = report_of("adam", ("v = beta2 * v + ", "v = beta2 * v - "))
    assert not report.ok and "NumPy warned in line" in str(report) and "sqrt" in str(report)


# --- the door for notebooks -------------------------------------------------------------------------------------------


def test_functions_are_checked_where_they_are():
    def backward(dy, saved):
        x, w = saved
        return dy @ w.T, x.T @ dy, -dy.sum(axis=0)

    for report in (check("linear", backward), check("linear", backward=backward)):
        assert not report.ok and [row.mark for row in report.rows] == ["exact", "exact", "wrong"]
        assert "opposite sign" in repr(report) and repr(report) == str(report)
        assert "| `db` | wrong |" in report._repr_markdown_() and "**linear: not yet." in report._repr_markdown_()
    right = exercise("conv_loops").module
    assert check("conv_loops", right.forward, right.backward)
    assert check("conv_loops", right.backward, forward=right.forward)
    assert check("relu", lambda dy, x: dy * (x > 0)), "the only function that is asked for needs no name"
    assert check("adam", lambda *given: exercise("adam").module.adam(*given))


@pytest.mark.parametrize("arguments, named, words", [
    (("lineer", len), {}, "did you mean 'linear'?"),
    (("linear",), {}, "asks for backward, got no function"),
    (("conv_loops", exercise("conv_loops").module.backward), {}, "asks for forward and backward, got backward"),
    (("linear",), {"backwards": len}, "got backwards"),
    (("linear", 3), {}, "backward has to be a function, got an int"),
    (("nothing.py",), {}, "nothing.py does not exist"),
    ((Path("nothing"),), {}, "nothing does not exist"),
])
def test_what_check_cannot_use(arguments, named, words):
    with pytest.raises(InputError) as error:
        check(*arguments, **named)
    assert words in str(error.value)


def test_a_report_survives_as_text():
    report = report_of("group_norm", ("dx_hat = dy * w.reshape(G, C // G)", "dx_hat = dy"))
    again = Report.from_dict(report.as_dict())
    assert str(again) == str(report) and not again.ok


def test_check_of_a_file(tmp_path):
    file = tmp_path / "anything.py"
    file.write_text(solved("relu"))
    assert check(str(file)).ok
    file.write_text(solved("relu", ("x > 0", "x < 0")))
    assert not check(file)
