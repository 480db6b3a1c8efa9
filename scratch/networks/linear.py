"""No networks: the model is linear, and with the AE's dense code it solves the problem of PCA."""

from scratch.module import Sequential
from scratch.networks.network import Network, Networks


class NoLayers(Network, name="linear"):
    """An encoder and a decoder without layers: the bottleneck's linear maps are the whole model.

    With the AE's dense code the model is x ≈ (x W₁ + b₁) W₂ + b₂. Its least squared error is that of PCA with the same
    number of components. At the least error the rows of W₂ span the space of the first principal components. They need
    not be the components themselves, because any invertible matrix may change z, and its inverse W₂, with the
    same output. There is no sigmoid, so an output may leave [0, 1]. (Bourlard & Kamp 1988, doi:10.1007/BF00332918;
    Baldi & Hornik 1989, doi:10.1016/0893-6080(89)90014-2, who show that every other stationary point is a saddle where
    the covariance is invertible and its eigenvalues differ)

    With the VAE's Gaussian code it is the linear VAE. Its dimensions are the components, in any order and with either
    sign; components of equal variance may be mixed. The code has to be a vector, and the likelihood one with a single
    output for each number of the image.
    """

    gives_grid = False
    only_one_output = True

    @staticmethod
    def build(task, options, dtype, rng):
        return Networks(Sequential(), Sequential(), task.image_shape)
