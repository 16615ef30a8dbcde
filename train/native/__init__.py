"""CPU operators in C++, for maps in NHWC order, over the oneDNN that MindSpore brings.

MindSpore's own convolutions on CPU ask oneDNN for plain NCHW tensors, for which it has no quick
kernel. These operators are optional: without them, and on every other device, MindSpore's own
serve the same network with the same parameters (see :mod:`train.model.backend`).

``python -m train.native`` builds them, ``MTLN_NATIVE=0`` switches them off. Nothing here knows the
network::

    source/, build      the operators in C++, and the call of the compiler
    library             where the built ones are, and whether this process can use them
    operators           MindSpore primitives of the functions in the library
    convolutions, norms, maps, scene_tasks, update    the primitives, by what they compute
"""
