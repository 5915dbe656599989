"""What each command does, from checked arguments to a folder with a page. Parses nothing and prints nothing."""
