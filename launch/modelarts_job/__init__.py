"""A job in a container of ModelArts, as ``launch/modelarts.py`` starts it.

Finds out from the platform's variables which node or card this is, and hands over to the launcher
or, where msrun has started a process per card, to this card's rank.
"""
