"""The network as an ONNX graph, written node by node: one small function per layer."""
