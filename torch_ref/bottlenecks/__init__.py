from torch_ref.bottlenecks.bottleneck import *  # noqa: F403
