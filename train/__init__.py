"""The training job: one process is one replica of the multi-task network.

Importing this package sets the environment variables that MindSpore reads when it is
loaded, so it must come before ``import mindspore`` (see :mod:`train.environment`).
"""

from train.environment import set_defaults

set_defaults()
