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
    push %rax
    push %rbx
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %rbp
    push %r8
    push %r9
    push %r10
    push %r11
    push %r12
    push %r13
    push %r14
    push %r15
    cld
    mov %rsp, %rdi
    mov %rsp, %rbp
    and $~15, %rsp
    call on_fault               /* returns only from a fault that it cured */
    mov %rbp, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rbp
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rbx
    pop %rax
    add $16, %rsp
    iretq

interrupt:
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    mov 72(%rsp), %edi
    sub $264, %rsp
    .irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movups %xmm\r, 16*\r(%rsp)
    .endr
    cld
    call on_interrupt
    .irp r, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
    movups 16*\r(%rsp), %xmm\r
    .endr
    add $264, %rsp
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    add $8, %rsp
    iretq

    .section .note.GNU-stack, "", @progbits
