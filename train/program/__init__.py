"""What all our programs have in common: requirements, command lines, ends, tables of text."""
