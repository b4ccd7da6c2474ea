"""ArcFace: a margin on the angle of the label.

Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR
2019 (arXiv:1801.07698).
"""

import math

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_value
from ltbench.losses.finite_gradients import angles


def arcface_logits(
    cosines: Tensor, labels: Tensor, scale: float = 64.0, margin: float = 0.5
) -> Tensor:
    """Return scaled cosines with a margin on the label's angle.

    s cos(theta_y + m) where theta_y + m is below pi, else s (cos theta_y - m sin m); s cos theta_j
    for other classes. As in the authors' code, which keeps the logit of the label falling with the
    angle.

    Args:
        cosines: [B, C], of features and class weights.
        labels: [B], int64.
        scale: s.
        margin: m, from 0 to below pi.

    Returns:
        [B, C].
    """
    check_labels(labels, cosines.shape)
    check_value("margin", margin, "0 <= margin < pi", holds=0 <= margin < math.pi)
    cosines = at_least_float32(cosines)
    if margin == 0:
        return scale * cosines
    own = cosines.gather(1, labels[:, None])  # [B, 1]
    turned = (angles(own) + margin).cos()
    beyond = own - margin * math.sin(margin)
    moved = torch.where(own > math.cos(math.pi - margin), turned, beyond)
    return scale * cosines.scatter(1, labels[:, None], moved)
