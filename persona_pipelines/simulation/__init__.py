"""Raw logs of a shop that does not exist, with a known ground truth: who is who, which records are good, where visits end."""
