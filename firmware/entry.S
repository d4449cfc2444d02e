/* The 256 entries of the IDT. An exception saves everything and calls on_fault;
   an interrupt saves what C may change and calls on_interrupt. Both run on stacks
   of their own (IST): a fault may be the stack's overflow, and machine code that a
   program calls may use the bytes below its stack pointer. */

    .text
    .globl trap_stubs
    .balign 16
trap_stubs:
    .set v, 0
    .rept 256
    .balign 16
    .if v < 32
    .if (v == 8) || (v >= 10 && v <= 14) || (v == 17) || (v == 21) || (v == 29) || (v == 30)
    .else
    push $0                     /* an error code, where the CPU pushes none */
    .endif
    push $v
    jmp fault
    .else
    push $v
    jmp interrupt
    .endif
    .set v, v + 1
    .endr

fault:
    .irp r, rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15
    push %\r
    .endr
    cld
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $~15, %rsp
    call on_fault               /* returns only from a fault that it cured */
    mov %rbp, %rsp
    .irp r, r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax
    pop %\r
    .endr
    add $16, %rsp
    iretq

interrupt:
    .irp r, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
    push %\r
    .endr
    mov 72(%rsp), %edi
    sub $264, %rsp
    .irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups %xmm\r, 16*\r(%rsp)
    .endr
    cld
    call on_interrupt
    .irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    movups 16*\r(%rsp), %xmm\r
    .endr
    add $264, %rsp
    .irp r, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
    pop %\r
    .endr
    add $8, %rsp
    iretq

    .section .note.GNU-stack, "", @progbits
