# Every generated aclnnXGetWorkspaceSize jumps here with its name in r11. This keeps the registers
# of arguments in front of the return address and the arguments on the stack, and hands
# stand_in_workspace the address of all that.
    .text
    .globl  stand_in_workspace_entry
    .type   stand_in_workspace_entry, @function
stand_in_workspace_entry:
    push    %r9
    push    %r8
    push    %rcx
    push    %rdx
    push    %rsi
    push    %rdi
    mov     %rsp, %rdi
    mov     %r11, %rsi
    push    %rbp
    mov     %rsp, %rbp
    and     $-16, %rsp
    call    stand_in_workspace@PLT
    mov     %rbp, %rsp
    pop     %rbp
    add     $48, %rsp
    xor     %eax, %eax
    ret
    .section .note.GNU-stack, "", @progbits
