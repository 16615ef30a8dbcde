"""Sources of all functions of CANN that no one has written: each says that all went well."""

import re
from collections.abc import Iterable

from tests.ascend.stand_in import wheel

# Members of ge::Operator that return the operator, so that calls of them can be chained.
_CHAINED = re.compile(r"_ZN2ge8Operator\d+(SetAttr|SetInput|AddControlInput)")

_HEADER = """\
struct executor;
int stand_in_launch(const char *name, struct executor *executor);
void stand_in_called(const char *name);
"""
_LAUNCH = """\
int {name}(void *workspace, unsigned long bytes, struct executor *executor, void *stream) {{
    return stand_in_launch("{name}", executor);
}}
"""
# The arguments of every operator are others, and on the way to stand_in_workspace none may be lost.
_WORKSPACE = """\
asm(".section .rodata\\n"
    "name_of_{name}: .string \\"{name}\\"\\n"
    ".text\\n"
    ".globl {name}GetWorkspaceSize\\n"
    ".type {name}GetWorkspaceSize, @function\\n"
    "{name}GetWorkspaceSize:\\n"
    "lea name_of_{name}(%rip), %r11\\n"
    "jmp stand_in_workspace_entry@PLT\\n");
"""
_FUNCTION = """\
long {name}(void) {{
    stand_in_called("{name}");
    return 0;
}}
"""
_METHOD = """\
asm(".text\\n.globl {name}\\n.type {name}, @function\\n{name}:\\n{body}\\nret\\n");
"""


def sources(wanted: Iterable[str], written: set[str]) -> str:
    """Return the C source of what is wanted and not written yet."""
    names = set(wanted)
    operators = wheel.operators(names) - written
    ready = written | operators | {f"{name}GetWorkspaceSize" for name in operators}
    others = sorted(name for name in names - ready if not name.startswith("__"))
    parts = [_HEADER]
    for name in sorted(operators):
        parts += [_LAUNCH.format(name=name), _WORKSPACE.format(name=name)]
    for name in others:
        if name.startswith("_Z"):
            body = "mov %rdi, %rax" if _CHAINED.match(name) else "xor %eax, %eax"
            parts.append(_METHOD.format(name=name, body=body))
        else:
            parts.append(_FUNCTION.format(name=name))
    return "".join(parts)
