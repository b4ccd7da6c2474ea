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


def missing_weights(recipe: Recipe, data_root: str | Path | None = None) -> str | None:
    """Return which pretrained weights are missing, and where they belong."""
    pretrained = recipe.pretrained
    if pretrained is None:
        return None
    if pretrained.file is not None:
        path = (resolve_root(data_root) / pretrained.file).absolute()
        return None if path.is_file() else f"put the pretrained weights at {path}"
    from huggingface_hub import try_to_load_from_cache

    name, file = f"{recipe.network}.{pretrained.tag}", "model.safetensors"
    if isinstance(try_to_load_from_cache(f"timm/{name}", file), str):
        return None
    return (
        f"jobs download the pretrained weights {name}; without network, put {file} of timm/{name} "
        f"at {resolve_root(data_root).absolute()}/{name}.safetensors and write pretrained: "
        f"{{file: {name}.safetensors, sha256: ...}} in the recipe"
    )
