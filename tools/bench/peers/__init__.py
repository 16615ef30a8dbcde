"""What is measured: a module each, with a class Peer; see :class:`tools.bench.worker.Peer`."""
