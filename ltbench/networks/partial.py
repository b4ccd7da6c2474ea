"""Network of a subset of the classes."""

from torch import Tensor, nn


class PartialNetwork(nn.Module):
    """A network of a subset of the classes.

    Args:
        network: images [B, C, H, W] -> logits [B, K].
        classes: [K], int64, the class of each logit.
    """

    def __init__(self, network: nn.Module, classes: Tensor) -> None:
        super().__init__()
        self.network = network
        self.classes: Tensor
        self.register_buffer("classes", classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, K] of images."""
        logits: Tensor = self.network(images)
        return logits
