"""Open set: OOD test images from another dataset with disjoint classes."""

import logging
from pathlib import Path

from ltbench.config.dataset import DatasetSpec
from ltbench.config.load import load_dataset
from ltbench.data.raw_dataset import RawDataset
from ltbench.data.sources import is_there, load_raw_dataset

log = logging.getLogger(__name__)


def load_open_set(spec: DatasetSpec, data_root: str | Path | None = None) -> RawDataset | None:
    """Load the open set of a dataset.

    Returns:
        The dataset; None if `spec` names no open set, or its images are missing, which is logged:
        no other test depends on them.

    Raises:
        ConfigError: if there is no such dataset.
        DataError: if its images exist but cannot be used.
    """
    if spec.open_set is None or spec.tested_on == "auxiliary":
        return None
    other = load_dataset(spec.open_set)
    if not is_there(other, data_root):
        log.warning("the images of %s are missing: no open-set test of %s", other.name, spec.name)
        return None
    return load_raw_dataset(other, data_root, download=False)
