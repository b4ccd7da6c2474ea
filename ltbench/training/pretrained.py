"""Pretrained weights of a recipe's backbone."""

from pathlib import Path

from ltbench.config.keys import file_hash
from ltbench.config.recipe import Recipe
from ltbench.data.errors import DataError
from ltbench.data.files import expand_home
from ltbench.data.sources import resolve_root


def pretrained_weights(recipe: Recipe, data_root: str | Path | None = None) -> str | Path | None:
    """Return the timm tag or file of pretrained weights.

    Returns:
        The tag or path; None for random initialization.

    Raises:
        DataError: if the file is missing, or its SHA-256 is not the recipe's.
    """
    pretrained = recipe.pretrained
    if pretrained is None:
        return None
    if pretrained.file is None:
        return pretrained.tag
    path = (resolve_root(data_root) / expand_home(pretrained.file)).absolute()
    if not path.is_file():
        raise DataError(
            f"{recipe.name}: put the pretrained weights at {path} (SHA-256 {pretrained.sha256})",
            "missing-file",
        )
    if (digest := file_hash(path)) != pretrained.sha256:
        raise DataError(
            f"{recipe.name}: {path} has SHA-256 {digest}, the recipe expects {pretrained.sha256}",
            "mismatch",
        )
    return path


def missing_weights(recipe: Recipe, data_root: str | Path | None = None) -> str | None:
    """Return which pretrained weights are missing, and where they belong."""
    try:
        pretrained_weights(recipe, data_root)
    except DataError as error:
        return str(error)
    if (pretrained := recipe.pretrained) is None or pretrained.file is not None:
        return None
    from huggingface_hub import try_to_load_from_cache

    name, file = f"{recipe.network}.{pretrained.tag}", "model.safetensors"
    if isinstance(try_to_load_from_cache(f"timm/{name}", file), str):
        return None
    return (
        f"{recipe.name}: jobs download the pretrained weights {name}; without network, put {file} "
        f"of timm/{name} at {resolve_root(data_root).absolute()}/{name}.safetensors and write "
        f"pretrained: {{file: {name}.safetensors, sha256: ...}} in the recipe"
    )
