"""This process seen from outside: signs of life, signals, failures."""
