"""CPU operators in C++, for maps in NHWC order, over the oneDNN that MindSpore brings.

MindSpore's own convolutions on CPU ask oneDNN for plain NCHW tensors, for which it has no quick
kernel. These operators are optional: without them, and on every other device, the stock layers
serve the same network with the same parameters (see :mod:`train.model.backend`).

``python -m train.native`` builds them, ``MTLN_NATIVE=0`` switches them off.
"""
