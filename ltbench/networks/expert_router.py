"""Router of RIDE: whether a sample needs the next expert.

Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts", ICLR 2021
(arXiv:2010.01809), section 3.3, in the form of the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 16


class ExpertRouter(nn.Module):
    """Routing logits after each expert but the last.

    Features [E, B, D] and logits [E, B, C] -> routing logits [E - 1, B]. After expert i the input
    is the largest of the first i experts' mean logits, and a projection of expert i's normalized
    features; each expert has its own projection, the last layer is shared.

    Args:
        width: D.
        experts: E, at least 2.
        top: number of largest logits in the input.
    """

    def __init__(self, width: int, experts: int, top: int) -> None:
        super().__init__()
        self.top = top
        self.hidden = nn.ModuleList(nn.Linear(width, HIDDEN) for _ in range(experts - 1))
        self.output = nn.Linear(top + HIDDEN, 1)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return routing logits [E - 1, B]; positive: use the next expert."""
        routes = []
        for i, project in enumerate(self.hidden):
            largest = logits[: i + 1].mean(dim=0).topk(self.top).values  # [B, top]
            hidden = F.relu(project(F.normalize(features[i])))  # [B, HIDDEN]
            routes.append(self.output(torch.cat([largest, hidden], dim=1)).squeeze(1))
        return torch.stack(routes)
