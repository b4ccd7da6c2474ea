"""A network that knows some of the classes."""

from torch import Tensor, nn


class PartialNetwork(nn.Module):
    """A network whose logits stand for some of the classes.

    Args:
        network: images [B, C, H, W] -> logits [B, K].
        classes: [K], int64.
    """

    def __init__(self, network: nn.Module, classes: Tensor) -> None:
        super().__init__()
        self.network = network
        self.classes: Tensor
        self.register_buffer("classes", classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, K] of images [B, C, H, W]."""
        logits: Tensor = self.network(images)
        return logits
