// Faults and fatal errors: say what, where and in which Python function, then end the
// machine with a status of its own (0x7f to isa-debug-exit, so QEMU exits with 255).

#include "py/mpprint.h"
#include "py/mpstate.h"
#include "py/objfun.h"
#include "py/runtime.h"
#include "barewire.h"

#define STATUS 0x7f

// What entry.S pushes, then what the CPU does.
typedef struct {
    uint64_t general[15], vector, error, rip, cs, rflags, rsp, ss;
} frame_t;
static const char *const names[] = {
    "r15", "r14", "r13", "r12", "r11", "r10", "r9 ", "r8 ", "rbp", "rdi", "rsi", "rdx", "rcx",
    "rbx", "rax", "vec", "err", "rip", "cs ", "rfl", "rsp", "ss ",
};

extern char trap_stubs[];
static uint64_t idt[256][2];
static struct {
    uint32_t reserved;
    uint64_t rsp[3], reserved2, ist[7], reserved3;
    uint16_t reserved4, iomap;
} __attribute__((packed)) tss;
static uint8_t fault_stack[8192] __attribute__((aligned(16)));
static uint8_t irq_stack[8192] __attribute__((aligned(16)));

static const char *const kinds[] = {
    "divide error", "debug", "NMI", "breakpoint", "overflow", "bound", "invalid opcode",
    "no FPU", "double fault", "?", "invalid TSS", "no segment", "stack segment",
    "general protection", "page fault", "?", "FPU error", "alignment", "machine check",
    "SIMD error",
};

void trap_init(void) {
    uint64_t t = (uintptr_t)&tss;
    tss.ist[0] = (uintptr_t)fault_stack + sizeof(fault_stack);
    tss.ist[1] = (uintptr_t)irq_stack + sizeof(irq_stack);
    tss.iomap = sizeof(tss);
    gdt[3] = (sizeof(tss) - 1) | (t & 0xffffff) << 16 | 0x89ULL << 40 | (t >> 24 & 0xff) << 56;
    gdt[4] = t >> 32;
    for (unsigned i = 0; i < 256; i++) {
        uint64_t stub = (uintptr_t)trap_stubs + 16 * i;
        idt[i][0] = (stub & 0xffff) | 8 << 16 | (i < 32 ? 1ULL : 2ULL) << 32 | 0x8eULL << 40
            | (stub >> 16 & 0xffff) << 48;
        idt[i][1] = stub >> 32;
    }
    const table_register_t idtr = { sizeof(idt) - 1, (uintptr_t)idt };
    __asm__ volatile ("lgdt %0; ltr %w1; lidt %2" : : "m" (gdtr), "r" (24), "m" (idtr));
}

// Frames of bytecode lie on MicroPython's own stack, unlinked; each begins with its
// function object and holds a pointer into itself, by which it is known. Innermost first.
static void print_python_stack(void) {
    uint64_t *end = (uint64_t *)MP_STATE_THREAD(pystack_cur);
    uint64_t *start = (uint64_t *)MP_STATE_THREAD(pystack_start);
    unsigned shown = 0;
    for (uint64_t *p = end - 5; start && p >= start && shown < 8; p--) {
        const mp_code_state_t *s = (const mp_code_state_t *)p;
        bool pointer = *p % 8 == 0 && *p >= (uintptr_t)_text_start && *p < (uintptr_t)bootinfo.free_end;
        if (pointer && s->sp >= s->state - 1 && (uint64_t *)s->sp <= end
            && (s->fun_bc->base.type == &mp_type_fun_bc || s->fun_bc->base.type == &mp_type_gen_wrap)) {
            qstr name = mp_obj_fun_get_name(MP_OBJ_FROM_PTR(s->fun_bc));
            mp_printf(&mp_plat_print, shown++ ? " < %q" : "  in %q", name);
        }
    }
    mp_print_str(&mp_plat_print, shown ? "\n" : "");
}

void fatal(const char *why) {
    irq_off();
    MP_STATE_VM(dupterm_objs[0]) = MP_OBJ_NULL;     // no Python any more
    mp_printf(&mp_plat_print, "\nFATAL: %s\n", why);
    print_python_stack();
    power_off(STATUS);
}

void nlr_jump_fail(void *val) {
    fatal("exception with nobody to catch it");
}

void on_fault(const frame_t *f) {
    static bool again;
    uint64_t cr2;
    __asm__ volatile ("mov %%cr2, %0" : "=r" (cr2));
    if (f->vector == 14 && !(f->error & 1) && mmu_map_device(cr2)) {
        return;
    }
    if (again) {
        power_off(STATUS);
    }
    again = true;
    MP_STATE_VM(dupterm_objs[0]) = MP_OBJ_NULL;
    const char *kind = f->vector < MP_ARRAY_SIZE(kinds) ? kinds[f->vector] : "?";
    mp_printf(&mp_plat_print, "\nFAULT: %s", kind);
    if (f->vector == 14) {
        uint64_t guard = (uintptr_t)stack_guard;
        mp_printf(&mp_plat_print, " (%s of %p%s)",
            f->error & 16 ? "execution" : f->error & 2 ? "write" : "read", (void *)cr2,
            cr2 >= guard && cr2 < guard + 4096 ? ", stack overflow" : cr2 < 4096 ? ", null pointer" : "");
    }
    mp_printf(&mp_plat_print, " at %p, error %x\n", (void *)f->rip, (unsigned)f->error);
    print_python_stack();
    for (unsigned i = 0; i < sizeof(*f) / 8; i++) {
        uint64_t v = ((const uint64_t *)f)[i];
        mp_printf(&mp_plat_print, "  %s %016lx%s", names[i], v, i % 4 == 3 ? "\n" : "");
    }
    mp_printf(&mp_plat_print, "  cr2 %016lx\n", cr2);
    power_off(STATUS);
}
