"""The command line: one file for each group of commands. Parses and prints; decides nothing."""
