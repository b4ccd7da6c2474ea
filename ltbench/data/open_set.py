"""The open set of a dataset: test images of another one, which show none of its classes."""

import logging
from pathlib import Path

from ltbench.config.load import load_dataset
from ltbench.config.models import DatasetSpec
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import is_there, load_raw_dataset

log = logging.getLogger(__name__)


def load_open_set(spec: DatasetSpec, data_root: str | Path | None = None) -> RawDataset | None:
    """Return the images of a dataset's open set.

    Returns:
        None where it names none; where they are not there too, which is said in the log: nothing
        else of a test depends on them.

    Raises:
        ConfigError: if there is no such dataset.
        DataError: when images are there but cannot be used.
    """
    if spec.open_set is None:
        return None
    other = load_dataset(spec.open_set)
    if not is_there(other, data_root):
        log.warning("no images of %s: %s has no open-set test", other.name, spec.name)
        return None
    return load_raw_dataset(other, data_root, download=False)
