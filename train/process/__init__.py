"""This process as seen from outside: signs of life, signals, failures."""
