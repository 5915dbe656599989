"""The folder of a run: opened, checked, read for its page, and compared with what it was trained on."""
