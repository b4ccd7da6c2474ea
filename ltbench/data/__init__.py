"""Images of a dataset, the long-tailed split made of them, and batches of it on the device."""
