"""Pretrained weights of a recipe's backbone."""

from pathlib import Path

from ltbench.config.keys import file_hash
from ltbench.config.models import Recipe
from ltbench.data.sources import resolve_root


def pretrained_weights(recipe: Recipe, data_root: str | None = None) -> str | Path | None:
    """Return the timm tag or safetensors file of pretrained weights.

    Returns:
        The tag or path; None for random initialization.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if its SHA-256 is not the recipe's.
    """
    pretrained = recipe.pretrained
    if pretrained is None:
        return None
    if pretrained.file is None:
        return pretrained.tag
    path = resolve_root(data_root) / pretrained.file
    if not path.is_file():
        raise FileNotFoundError(f"the pretrained weights {path.absolute()} are missing")
    if (digest := file_hash(path)) != pretrained.sha256:
        raise ValueError(
            f"{path.absolute()} has SHA-256 {digest}, the recipe expects {pretrained.sha256}"
        )
    return path
