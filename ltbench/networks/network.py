"""Network of most methods: a backbone and a classifier."""

from torch import Tensor, nn


class Network(nn.Module):
    """A backbone and a classifier.

    Images [B, C, H, W] -> features [B, D] -> logits [B, classes].
    """

    def __init__(self, backbone: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier

    def features(self, images: Tensor) -> Tensor:
        """Return features [B, D] of images.

        Args:
            images: [B, C, H, W]; or cached features [B, D], or [B, E, D] of experts, which are
                returned as [E, B, D].
        """
        cached = images.dim() < 4
        features: Tensor = images.movedim(0, -2) if cached else self.backbone(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images or cached features."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
