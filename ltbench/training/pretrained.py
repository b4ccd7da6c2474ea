"""Which weights a recipe's backbone begins with."""

from pathlib import Path

from ltbench.config.keys import file_hash
from ltbench.config.models import Recipe
from ltbench.data.sources import resolve_root


def pretrained_weights(recipe: Recipe, data_root: str | None = None) -> str | Path | None:
    """Return the timm tag or the safetensors file of the weights; None for a random start.

    Raises:
        FileNotFoundError: where the file is not there.
        ValueError: where it is not the one that the recipe says.
    """
    pretrained = recipe.pretrained
    if pretrained is None:
        return None
    if pretrained.file is None:
        return pretrained.tag
    path = resolve_root(data_root) / pretrained.file
    if not path.is_file():
        raise FileNotFoundError(f"there are no pretrained weights {path.absolute()}")
    if (found := file_hash(path)) != pretrained.sha256:
        raise ValueError(
            f"{path.absolute()} has SHA-256 {found}, the recipe says {pretrained.sha256}"
        )
    return path
