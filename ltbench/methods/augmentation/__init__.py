"""Information augmentation: transfer, distillation, mixing, generated samples."""
