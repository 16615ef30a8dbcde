"""The input side: records on disk, the sampling plan, decoding and augmentation."""
