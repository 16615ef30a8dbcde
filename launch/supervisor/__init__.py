"""The ranks of this node: started, watched, ended, explained when they fail, started again."""
