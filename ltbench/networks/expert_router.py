"""The router of RIDE: whether a sample should go on to the next expert.

Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts", ICLR 2021
(arXiv:2010.01809), section 3.3, in the form of the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HIDDEN = 16


class ExpertRouter(nn.Module):
    """Features [E, B, D] and logits [E, B, C] -> routing logits [E - 1, B].

    After expert i the router sees the largest means of the first i experts' logits and a projection
    of expert i's normalized features, one projection an expert; the layer on top is shared.

    Args:
        width: D.
        experts: E, at least 2.
        top: number of logits seen.
    """

    def __init__(self, width: int, experts: int, top: int) -> None:
        super().__init__()
        self.top = top
        self.hidden = nn.ModuleList(nn.Linear(width, HIDDEN) for _ in range(experts - 1))
        self.output = nn.Linear(top + HIDDEN, 1)

    def forward(self, features: Tensor, logits: Tensor) -> Tensor:
        """Return routing logits [E - 1, B]; above 0 the next expert is asked."""
        routes = []
        for i, project in enumerate(self.hidden):
            seen = logits[: i + 1].mean(dim=0).topk(self.top).values  # [B, top]
            hidden = F.relu(project(F.normalize(features[i])))  # [B, HIDDEN]
            routes.append(self.output(torch.cat([seen, hidden], dim=1)).squeeze(1))
        return torch.stack(routes)
