"""Runs a job in a container of a cloud platform (ModelArts): data in, training, results out.

Finds out from the environment which node or card this is, brings the data to the node once, starts
the launcher (or, where the platform starts a process per card, this card's rank), and takes the run
folder to its place in the end, however the training ended.
"""
