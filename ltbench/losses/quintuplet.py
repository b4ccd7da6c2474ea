"""The quintuplet loss: three hinges on distances to mined images.

Huang, Li, Loy, Tang, "Learning Deep Representation for Imbalanced Classification", CVPR 2016.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import MOST_CLASSES, check_labels, check_shape, check_value
from ltbench.core.distributed import gather, global_mean
from ltbench.losses.counts import as_constant


def quintuplet(
    distances: Tensor, labels: Tensor, margins: tuple[float, float, float], known: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean hinges of quintuplets, whose anchors are weighted by class.

        [g1 + D(p+) - D(p-)]_+    [g2 + D(p-) - D(p--)]_+    [g3 + D(p--) - D(n)]_+

    The weight of an anchor is 1 / (anchors of its class in the global batch), and weights sum to 1.

    Args:
        distances: [A, 4], squared, of the anchors to p+ (same cluster), p- (same class, other
            cluster), p-- (farthest of the class) and n (other class).
        labels: [A], int64, of the anchors.
        margins: g1, g2 and g3.
        known: [A, 4] bool, whether an anchor has each of them. The first hinge needs p+ and p-, the
            second p-, the third n; one that lacks them is 0.

    Returns:
        Three scalars.
    """
    check_shape("distances", distances, "A", 4)
    check_labels(labels, (len(distances), MOST_CLASSES))
    check_shape("known", known, *distances.shape)
    holds = len(margins) == 3 and min(margins) >= 0
    check_value("margins", margins, "three, at least 0", holds=holds)
    distances = at_least_float32(distances)
    same, other, farthest, negative = distances.unbind(dim=1)
    has_same, has_other, _, has_negative = known.unbind(dim=1)
    sizes = (labels[:, None] == gather(labels)).sum(dim=1)
    weights = 1 / as_constant(sizes, distances)

    def mean(margin: float, near: Tensor, far: Tensor, counted: Tensor) -> Tensor:
        return global_mean(F.relu(margin + near - far) * counted, weights)

    return (
        mean(margins[0], same, other, has_same & has_other),
        mean(margins[1], other, farthest, has_other),
        mean(margins[2], farthest, negative, has_negative),
    )
