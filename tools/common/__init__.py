"""What several commands use: the terminal, worker processes, output folders, prepared data sets."""
