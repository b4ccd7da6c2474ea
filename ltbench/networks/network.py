"""The network that most methods train: a backbone that ends in features, and a classifier."""

from torch import Tensor, nn


class Network(nn.Module):
    """Images [B, C, H, W] -> features [B, D] -> logits [B, classes]."""

    def __init__(self, backbone: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = classifier

    def features(self, images: Tensor) -> Tensor:
        """Return features [B, D] of images [B, C, H, W]; those made before pass, experts first."""
        cached = images.dim() < 4
        features: Tensor = images.movedim(0, -2) if cached else self.backbone(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [B, classes] of images [B, C, H, W]."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
