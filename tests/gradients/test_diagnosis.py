"""What a wrong gradient looks like: each hypothesis, and above all that nothing is named where nothing fits."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest

from scratch.gradcheck import diagnose
from scratch.gradcheck.cases import CASES
from scratch.gradcheck.diagnosis import looks_like
from scratch.gradcheck.table import run_case

rng = np.random.default_rng(0)
G, X, U = (rng.standard_normal((5, 4)) for _ in range(3))
T = rng.standard_normal((3, 4, 2, 5))
CONTEXT = dict(arrays={"x": X, "logvar": X}, upstream={"y": U}, constants={"N": 5, "τ": 0.7})

LOOKS = [
    (2 * G, "twice the right gradient: the ratio is 2.000 at every coordinate"),
    (-G, "the right gradient with the opposite sign: the ratio is −1.000"),
    (G / 5, "1/N of the right gradient: the ratio is 0.2000 at every coordinate; N = 5"),
    (G * 5, "N times the right gradient"),
    (G / 0.7, "1/τ of the right gradient"),
    (G * 2.5, "½·N times the right gradient"),
    (G * np.pi, "3.142 times the right gradient"),
    (0 * G, "zero, where the right gradient is not"),
    (G[::-1], "flipped along axis 0"),
    (np.roll(G, 1, 0), "shifted by 1 along axis 0"),
    (G.T, "transposed"),
    (G * (X > 0), "with zeros where x < 0"),
    (G * np.where(X > 0, 1, -1), "with the opposite sign where x < 0"),
    (np.where(np.arange(5)[:, None] == 4, 0, G), "with zeros at the last index of axis 0"),
    (U, "the upstream gradient ∂L/∂y itself"),
    (G - U, "without ∂L/∂y itself, the share that passes by addition"),
    (G + U, "plus ∂L/∂y itself"),
    (G * np.exp(0.5 * X), "with a factor .*σ too many"),
    (G / U, "without its factor ∂L/∂y"),
    (G + 0.3, "plus one number"),
    (G + G.mean(0), "a sum or mean over axis 0 missing or too many"),
    (G.sum(0), "the sum of the right gradient over axis 0"),
    (G.mean(0) + 0 * G, "the mean of the right gradient over axis 0"),
    (np.stack([0.25 * G, 0.75 * G]), "before it is summed over axis 0"),
    (G.reshape(4, 5), r"the right numbers in the shape \(4, 5\)"),
    (np.random.default_rng(1).permutation(G.ravel()).reshape(5, 4), "the right numbers in the wrong places"),
    (G * [1, 0.5, 1 / 3, 1], "a mean in place of a sum"),
    (G.astype(np.float32), "in single precision"),
]


@pytest.mark.parametrize("claimed, says", LOOKS, ids=[says for _, says in LOOKS])
def test_looks_like(claimed, says):
    finding = looks_like(claimed, G, **CONTEXT)
    assert str(finding).startswith("looks like ")
    assert re.search(says, str(finding)), finding


@pytest.mark.parametrize("claimed, says", [
    (T[:, ::-1, ::-1], "flipped along axes 1 and 2"),
    (T.transpose(0, 3, 1, 2), r"axes in the order \(0, 3, 1, 2\)"),
    (T.transpose(0, 3, 1, 2).reshape(T.shape), "another order of the axes"),
    (np.roll(T, 1, 1), "shifted by 1 along axis 1"),
])
def test_orders_of_four_axes(claimed, says):
    assert re.search(says, str(looks_like(claimed, T)))


def test_terms_say_which_share_is_missing_or_doubled():
    terms = {name: rng.standard_normal((6, 3)) for name in ("q", "kl", "codebook")}
    right = sum(terms.values())
    for claimed, says in [
        (right - terms["kl"], "without the share of kl"),
        (right + terms["codebook"], "with the share of codebook doubled"),
        (right - 2 * terms["q"], "with the share of q of the opposite sign"),
        (right - terms["q"] - terms["kl"], "without the share of q and without the share of kl"),
    ]:
        assert f"the right gradient {says}:" in str(looks_like(claimed, right, terms=terms))


def test_numbers_and_sizes_name_a_factor():
    assert "1/beta of the right gradient" in str(looks_like(G / 0.3, G, beta=0.3))
    assert "1/(length of axis 0) of the right gradient" in str(looks_like(G / 5, G))
    assert "1/(number of elements) of the right gradient" in str(looks_like(G / 20, G))


def test_an_upstream_gradient_that_is_left_out_is_named_before_a_number():
    assert "without the upstream gradient ∂L/∂kl" in str(looks_like(G, 0.37 * G, upstream={"kl": np.array(0.37)}))


def test_two_explanations_that_are_as_simple_are_both_named():
    text = str(looks_like(2 * G, G, constants={"N": 2}))
    assert "twice the right gradient, or N times the right gradient" in text and "N = 2" in text


@pytest.mark.parametrize("claimed, expected", [
    (G, G), (G * (1 + 1e-9), G), (0 * G, 0 * G), (X, G), (np.tanh(G), G), (G + 1e-3 * X * X * U, G),
    (np.full((5, 4), np.nan), G), (X[:, :3], G), (np.array(0.3), np.array(0.7)),
])
def test_nothing_is_said_where_nothing_fits(claimed, expected):
    assert looks_like(claimed, expected, upstream={"y": U}, constants={"N": 5}) is None


def corrupted(case, spoil):
    """The case, with another gradient in place of each that backward returns."""
    def make(_, rng):
        operation = case.make(case, rng)
        backward = operation.backward

        def wrong(upstream):
            seed = int(1e9 * abs(sum(float(np.sum(u)) for u in upstream.values()))) % 2**31
            draws = np.random.default_rng(seed)
            return {name: spoil(np.array(g, float), draws) for name, g in backward(upstream).items()}

        operation.backward = wrong
        return operation

    return replace(case, make=make)


SPOILED = {
    "normal": lambda g, rng: rng.standard_normal(g.shape),
    "noisy": lambda g, rng: g + (1e-3 + 0.1 * np.abs(g).max()) * rng.standard_normal(g.shape),
    "curved": lambda g, rng: np.tanh(g) + 0.01 * g**2 + 1e-3,
}
SMALL = [case for case in CASES if case.name in (
    "Linear", "Sigmoid", "MaxPool2d", "BatchNorm2d", "SquaredError", "GaussianKL", "Reparameterize", "VectorQuantizer",
    "GumbelSoftmax", "GaussianBottleneck", "Upsample")]
SMALL = list({case.name: case for case in SMALL}.values())


@pytest.mark.parametrize("spoil", SPOILED)
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_a_gradient_that_is_wrong_in_no_known_way_fails_without_a_name(case, spoil):
    rows = run_case(corrupted(case, SPOILED[spoil]))
    assert not any(row.ok for row in rows)
    assert [str(row.finding) for row in rows if row.finding] == []


@pytest.mark.parametrize("seed", range(3))
def test_right_gradients_have_no_finding(seed):
    for case in CASES:
        for row in run_case(case, seed):
            assert row.ok and row.finding is None and not row.reason, (case.name, row.tensor)


# --- one's own forward and backward -----------------------------------------------------------------------------------

W, B = rng.standard_normal((4, 3)), rng.standard_normal(3)


class Pair:
    """y = x w + b, with a backward that a test chooses."""

    def forward(self, x, w, b):
        self.x, self.w = x, w
        return x @ w + b


def checked(backward):
    pair = Pair()
    return diagnose(pair.forward, lambda dy: backward(pair, dy), x=X, w=W, b=B)


def test_a_right_pair_is_ok():
    report = checked(lambda p, dy: (dy @ p.w.T, p.x.T @ dy, dy.sum(0)))
    assert report.ok and not report.findings and "none out of bounds" in str(report)


def test_findings_are_data_and_print_with_the_line_of_the_backward():
    report = checked(lambda p, dy: (dy @ p.w.T, p.x.T @ dy / 5, dy.sum(1)))
    assert not report.ok and report.findings["w"].kind == "factor" and "x" not in report.findings
    text = str(report)
    assert "1/N of the right gradient" in text and "b has shape (3,), its gradient (5,)" in text
    assert "the sum of ∂L/∂y over axis 1" in text and "test_diagnosis.py:" in text


@pytest.mark.parametrize("backward, says", [
    (lambda p, dy: (dy @ p.w, p.x.T @ dy, dy.sum(0)), "ValueError in "),
    (lambda p, dy: (dy @ p.w.T, p.x.T @ dy), "backward returned 2 gradients, expected one for each of x, w, b"),
    (lambda p, dy: (dy @ p.w.T, p.x.T @ dy, None), "backward gives no gradient of b"),
    (lambda p, dy: (dy @ p.w.T, np.nan * p.x.T @ dy, dy.sum(0)), "12 of 12 numbers of the gradient of w are NaN"),
    (lambda p, dy: (dy @ p.w.T, p.x.T @ dy, dy.sum(0).astype(np.float32)), "b is float64, its gradient float32"),
])
def test_what_is_no_gradient_is_a_row_with_its_reason(backward, says):
    report = checked(backward)
    assert not report.ok and says in str(report)


def test_a_cache_is_passed_on_as_in_cs231n():
    def forward(x):
        return np.tanh(x), np.tanh(x)

    def backward(dy, cache):
        return dy * (1 - cache)

    assert "in place of 1 − y²" in str(diagnose(forward, backward, x=X))


def test_a_kink_is_no_mistake():
    x = X.copy()
    x[0, :2] = 0
    report = diagnose(lambda x: np.maximum(x, 0), lambda dy: dy * (x > 0), x=x)
    assert report.ok and report.findings["x"].kind == "kink" and "right but for a kink" in str(report)
    assert not diagnose(lambda x: np.maximum(x, 0), lambda dy: dy * (x >= 0) * 1.1, x=x).ok


def test_a_maximum_that_is_shared_by_two_may_not_be_counted_twice():
    x = np.array([[1.0, 3.0, 3.0, 2.0]])

    def backward(dy):
        return dy[:, None] * (x == 3)

    assert not diagnose(lambda x: x.max(1), backward, x=x).ok
    assert diagnose(lambda x: x.max(1), lambda dy: dy[:, None] * (x == 3) / 2, x=x).ok


def test_an_input_that_is_changed_in_place_is_named():
    state = {}

    def forward(x):
        np.maximum(x, 0, out=x)
        x *= 2
        state["x"] = x
        return x.copy()

    assert "changes x in place" in str(diagnose(forward, lambda dy: dy * state["x"], x=X))


def test_right_in_expectation_but_not_for_the_draw():
    """The score-function estimator beside the pathwise derivative."""
    state = {}

    def forward(mu, eps):
        state.update(z=mu + eps, eps=eps)
        return (state["z"] ** 2).sum(axis=1)

    def backward(dy):
        return dy[:, None] * (state["z"] ** 2).sum(axis=1, keepdims=True) * state["eps"]

    finding = diagnose(forward, backward, mu=2 + X, noise={"eps": U}).findings["mu"]
    assert finding.kind == "expectation"


@pytest.mark.parametrize("kind, forward, tensors, says", [
    ("reparameterize", lambda mu, logvar, eps: mu + np.exp(logvar) * eps, {"mu": X, "logvar": 0.3 * X},
     "as if σ were exp(logvar)"),
    ("gaussian_kl", lambda mu, logvar: 0.5 * (mu**2 + np.exp(logvar) - logvar).sum() / len(mu), {"mu": X, "logvar": X},
     "at the prior"),
])
def test_a_wrong_model_with_right_gradients_is_caught(kind, forward, tensors, says):
    """Central differences serve as its backward."""
    noise = {"eps": U} if kind == "reparameterize" else {}
    last = {}

    def kept(**given):
        last.update(given)
        return forward(**given)

    kept.__signature__ = inspect.signature(forward)

    def backward(dy):
        if kind == "reparameterize":
            return dy, dy * np.exp(last["logvar"]) * last["eps"]
        return dy * last["mu"] / 5, dy * 0.5 * (np.exp(last["logvar"]) - 1) / 5

    report = diagnose(kept, backward, kind=kind, noise=noise, **tensors)
    assert says in str(report) and sum(not row.ok for row in report.rows) == 1


def test_a_module_is_checked_with_its_parameters():
    from scratch.bottlenecks import VectorQuantizer
    from scratch.layers import Linear

    assert [row.tensor for row in diagnose(Linear(4, 3, dtype=np.float64), x=X).rows] == ["x", "weight", "bias"]
    quantizer = VectorQuantizer(6, 4, "normal", dtype=np.float64, rng=np.random.default_rng(3))
    assert diagnose(quantizer, z=X[None]).ok


@pytest.mark.parametrize("arguments, given, says", [
    ((lambda x: x, lambda dy: dy), {}, "none was given"),
    ((lambda x: x, lambda dy: dy), {"x": np.arange(3)}, "int64 array was given"),
    ((lambda x: x, lambda dy: dy), {"z": X}, "no parameter 'z'"),
    ((lambda x: x,), {"x": X}, "a forward and a backward"),
    ((lambda x: x, lambda dy: dy), {"x": X, "kind": "kl"}, "kind takes"),
])
def test_what_cannot_be_diagnosed_is_refused(arguments, given, says):
    with pytest.raises(ValueError, match=says):
        diagnose(*arguments, **given)


def test_a_large_tensor_is_looked_at_in_places():
    x = np.random.default_rng(0).standard_normal((40, 100))
    report = diagnose(lambda x: np.tanh(x), lambda dy: 2 * dy * (1 - np.tanh(x) ** 2), x=x)
    assert "twice the right gradient" in str(report)
