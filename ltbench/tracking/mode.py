"""How Weights & Biases mirrors jobs."""

from typing import Literal

Mode = Literal["auto", "offline", "online", "off"]
