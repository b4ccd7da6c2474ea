"""Network with attention on the backbone's last maps."""

from collections.abc import Callable

from torch import Tensor, nn

from ltbench.networks.network import Network
from ltbench.networks.parts import has_maps, parts_of


class AttentiveNetwork(Network):
    """A network with attention on the backbone's last maps.

    Its features are the attended maps, pooled as the backbone pools. On a backbone without maps
    they are the backbone's.

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
        parts = parts_of(self.backbone)
        features: Tensor = parts.pool(self.attention(parts.maps(images)))
        return features
