"""Network with attention on the backbone's last maps."""

from collections.abc import Callable

from torch import Tensor, nn

from ltbench.networks.network import Network
from ltbench.networks.parts import has_maps, parts_of


class AttentiveNetwork(Network):
    """A network with attention on the backbone's last maps.

    Its features are the mean of the attended maps, also of a FastNet, whose own features are the
    maximum. On a backbone without maps they are the backbone's.

    Args:
        backbone: images -> features.
        classifier: features -> logits.
        attention: makes the attention, maps [B, D, H', W'] -> maps.
    """

    def __init__(
        self, backbone: nn.Module, classifier: nn.Module, attention: Callable[[], nn.Module]
    ) -> None:
        super().__init__(backbone, classifier)
        self.attention = attention() if has_maps(backbone) else None

    def features(self, images: Tensor) -> Tensor:
        """Return features [B, D] of images [B, C, H, W]."""
        if self.attention is None:
            return super().features(images)
        attended: Tensor = self.attention(parts_of(self.backbone).maps(images))
        return attended.mean(dim=(2, 3))
