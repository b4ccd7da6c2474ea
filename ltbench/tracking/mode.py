"""Tracking modes of Weights & Biases."""

from typing import Literal

Mode = Literal["auto", "offline", "online", "off"]
