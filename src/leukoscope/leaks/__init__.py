"""Whether test cells were seen in training: duplicates, splits, the guard, and the training table of a bundle."""
