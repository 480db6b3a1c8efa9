"""No network at all: what is left is PCA's own problem."""

from scratch.module import Sequential
from scratch.networks.network import Network, Networks


class NoLayers(Network, name="linear"):
    """An encoder and a decoder without any layer: the bottleneck's linear maps are all there is.

    Around the AE's dense code that is x ≈ (x W₁ + b₁) W₂ + b₂. Its least squared error is that of PCA with as many
    components, and at the least error the rows of W₂ span the space of the first principal components; they need not
    be the components themselves, as z → z A with any invertible A leaves the output as it is. There is no sigmoid: an
    output may leave [0, 1]. (Bourlard & Kamp 1988, doi:10.1007/BF00332918; Baldi & Hornik 1989,
    doi:10.1016/0893-6080(89)90014-2, who show that every other stationary point is a saddle)

    Around the VAE's Gaussian code it is the linear VAE. Its code is a vector, and its output has one number for each
    of the image's.
    """

    gives_grid = False
    only_one_output = True

    @staticmethod
    def build(task, options, dtype, rng):
        return Networks(Sequential(), Sequential(), task.image_shape)
