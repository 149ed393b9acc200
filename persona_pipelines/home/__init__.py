"""The state folder: whose it is, whether it is as it was left, and the one moment at which new results take the place of the old."""
