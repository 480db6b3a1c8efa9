"""Paths and sums in the space of codes, with known results."""

import numpy as np

from scratch.instruments.vector_codes import CodeSpace, bilinear, mean_difference, traversal


def test_a_traversal_leads_one_dimension_in_its_units():
    code = np.array([0.3, 7.0, -1.0], np.float32)
    space = CodeSpace(code[None], np.array([0.1, 2.0, 0.7]), np.array([0, 5.0, 0]), np.array([1, 0.5, 1]), "", False)
    assert space.most_important(2).tolist() == [1, 2] and space.most_important(9).tolist() == [1, 2, 0]
    led = traversal(code, space, 1, 3, 5)
    np.testing.assert_allclose(led[:, 1], [3.5, 4.25, 5, 5.75, 6.5])
    assert (led[:, [0, 2]] == code[[0, 2]]).all() and led.dtype == np.float32 and code[1] == 7


def test_a_bilinear_grid_has_the_four_in_its_corners():
    corners = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    grid = bilinear(corners, 5)
    assert grid.shape == (5, 5, 6) and grid.dtype == np.float32
    np.testing.assert_array_equal(grid[[0, 0, -1, -1], [0, -1, 0, -1]], corners)
    np.testing.assert_allclose(grid[2, 2], corners.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(grid[0, 1], 0.75 * corners[0] + 0.25 * corners[1], atol=1e-6)
    np.testing.assert_allclose(grid[3, 0], 0.25 * corners[0] + 0.75 * corners[2], atol=1e-6)


def test_a_difference_of_means_is_the_direction_of_a_factor():
    rng = np.random.default_rng(0)
    values, direction = rng.integers(-1, 2, 3000), np.array([0.5, -2.0, 0.0])
    codes = rng.normal(0, 0.1, (3000, 3)) + np.where(values[:, None] == 1, direction, 0) + 100 * (values == -1)[:, None]
    np.testing.assert_allclose(mean_difference(codes, values, 0, 1), direction, atol=0.02)
