"""The folder of a run: opened and checked, read for its page, and compared with other cells."""
