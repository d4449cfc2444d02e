/* Entry from the loader (PVH or multiboot2, both 32-bit, paging off): a first
   identity map of 4 GB in 2 MB pages, long mode, SSE and AVX, a stack, main().
   mmu.c lays the final rights over the map. */

    .section .note.pvh, "a", @note
    .align 4
    .long 4, 4, 18              /* XEN_ELFNOTE_PHYS32_ENTRY */
    .asciz "Xen"
    .long entry

    .section .multiboot2, "a"
    .align 8
mb2:
    .long 0xe85250d6, 0, mb2_end - mb2, -(0xe85250d6 + (mb2_end - mb2))
    .word 0, 0
    .long 8
mb2_end:

    .code32
    .section .text.boot, "ax"
    .globl entry
entry:
    cli
    cld
    mov $stack_top, %esp
    mov %eax, boot_magic
    mov %ebx, boot_info

    mov $pml4, %eax
    mov %eax, %cr3
    mov %cr4, %eax
    or $0x620, %eax             /* PAE, OSFXSR, OSXMMEXCPT */
    mov %eax, %cr4
    mov $0xc0000080, %ecx       /* EFER: long mode */
    rdmsr
    or $0x100, %eax
    wrmsr
    mov %cr0, %eax
    and $~0x4, %eax             /* EM off */
    or $0x80010023, %eax        /* PG, WP, NE, MP, PE */
    mov %eax, %cr0
    lgdt gdtr
    ljmp $8, $1f

    .code64
1:  mov $16, %eax               /* of the data segments only SS counts in long mode */
    mov %eax, %ss
    mov $stack_top, %rsp

    mov $0xc0000100, %ecx       /* FS base: musl's functions read their stack canary there */
    mov $tls, %eax
    xor %edx, %edx
    wrmsr
    rdtsc
    mov %eax, tls + 0x28

    mov $1, %eax                /* XSAVE, then what of x87, SSE, AVX, AVX-512 there is */
    xor %ecx, %ecx
    cpuid
    bt $26, %ecx
    jnc 1f
    mov %cr4, %rax
    or $0x40000, %rax
    mov %rax, %cr4
    mov $0xd, %eax
    xor %ecx, %ecx
    cpuid
    and $0xe7, %eax
    xor %edx, %edx
    xor %ecx, %ecx
    xsetbv
1:  call main
2:  hlt
    jmp 2b

    .section .data
    .align 16
    .globl gdt, gdtr
gdt:
    .quad 0
    .quad 0x00af9a000000ffff    /* code */
    .quad 0x00cf92000000ffff    /* data */
    .quad 0, 0                  /* TSS, filled by trap.c */
gdtr:
    .word . - gdt - 1
    .quad gdt
    .globl boot_magic, boot_info
boot_magic: .long 0
boot_info:  .long 0

    .section .bss
    .align 16
tls: .skip 128

    .section .note.GNU-stack, "", @progbits
    .section .data.tables, "aw"
    .balign 4096
    .globl pml4, pd
pml4:
    .quad pdpt + 3              /* present, writable */
    .fill 511, 8, 0
pdpt:
    .quad pd + 3, pd + 0x1003, pd + 0x2003, pd + 0x3003
    .fill 508, 8, 0
pd:
    .set page, 0x83             /* and 2 MB */
    .rept 2048
    .quad page
    .set page, page + 0x200000
    .endr

    .section .bss.stack, "aw", @nobits
    .balign 4096
    .globl stack_guard, stack_bottom, stack_top
stack_guard:  .skip 4096        /* never mapped */
stack_bottom: .skip 256 * 1024
stack_top:
