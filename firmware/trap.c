// Faults and fatal errors: say what, where and in which Python function, then end the
// machine with a status of its own (0x7f to isa-debug-exit, so QEMU exits with 255).

#include "py/mpprint.h"
#include "py/mpstate.h"
#include "py/objfun.h"
#include "py/runtime.h"
#include "barewire.h"

#define STATUS 0x7f

typedef struct {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8, rbp, rdi, rsi, rdx, rcx, rbx, rax;
    uint64_t vector, error, rip, cs, rflags, rsp, ss;
} frame_t;

extern char trap_stubs[];
extern uint64_t gdt[];
extern struct {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed)) gdtr;

static struct {
    uint16_t low, cs;
    uint8_t ist, type;
    uint16_t mid;
    uint32_t high, zero;
} idt[256];
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
        idt[i].low = stub;
        idt[i].cs = 8;
        idt[i].ist = i < 32 ? 1 : 2;
        idt[i].type = 0x8e;
        idt[i].mid = stub >> 16;
        idt[i].high = stub >> 32;
    }
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr = { sizeof(idt) - 1, (uintptr_t)idt };
    __asm__ volatile ("lgdt %0; ltr %w1; lidt %2" : : "m" (gdtr), "r" (24), "m" (idtr));
}

static void raw_strn(void *env, const char *s, size_t n) {
    (void)env;
    for (; n--; s++) {
        if (*s == '\n') {
            serial_write_raw("\r", 1);
        }
        serial_write_raw(s, 1);
    }
}
static const mp_print_t raw = { NULL, raw_strn };

static bool in_image_or_ram(uint64_t p) {
    return p % 8 == 0 && p >= (uintptr_t)_text_start && p < (uintptr_t)bootinfo.free_end;
}

// Frames of bytecode lie on MicroPython's own stack, unlinked; each begins with its
// function object and holds a pointer into itself, by which it is known. Innermost first.
static void print_python_stack(void) {
    uint64_t *end = (uint64_t *)MP_STATE_THREAD(pystack_cur);
    uint64_t *start = (uint64_t *)MP_STATE_THREAD(pystack_start);
    if (start == NULL) {
        return;
    }
    unsigned shown = 0;
    for (uint64_t *p = end - 5; p >= start && shown < 8; p--) {
        const mp_code_state_t *s = (const mp_code_state_t *)p;
        if (!in_image_or_ram(p[0]) || s->sp < s->state - 1 || (uint64_t *)s->sp > end) {
            continue;
        }
        const mp_obj_type_t *type = s->fun_bc->base.type;
        if (type != &mp_type_fun_bc && type != &mp_type_gen_wrap) {
            continue;
        }
        mp_printf(&raw, shown++ ? " < %q" : "  in %q", mp_obj_fun_get_name(MP_OBJ_FROM_PTR(s->fun_bc)));
    }
    mp_print_str(&raw, shown ? "\n" : "");
}

void fatal(const char *why) {
    irq_off();
    mp_printf(&raw, "\nFATAL: %s\n", why);
    print_python_stack();
    power_off(STATUS);
}

void nlr_jump_fail(void *val) {
    (void)val;
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
    const char *kind = f->vector < MP_ARRAY_SIZE(kinds) ? kinds[f->vector] : "?";
    mp_printf(&raw, "\nFAULT: %s", kind);
    if (f->vector == 14) {
        uint64_t guard = (uintptr_t)stack_guard;
        mp_printf(&raw, " (%s of %p%s)",
            f->error & 16 ? "execution" : f->error & 2 ? "write" : "read", (void *)cr2,
            cr2 >= guard && cr2 < guard + 4096 ? ", stack overflow" : cr2 < 4096 ? ", null pointer" : "");
    }
    mp_printf(&raw, " at %p, error %x\n", (void *)f->rip, (unsigned)f->error);
    print_python_stack();
    const struct {
        const char *name;
        uint64_t v;
    } regs[] = {
        {"rax", f->rax}, {"rbx", f->rbx}, {"rcx", f->rcx}, {"rdx", f->rdx}, {"rsi", f->rsi},
        {"rdi", f->rdi}, {"rbp", f->rbp}, {"rsp", f->rsp}, {"r8 ", f->r8}, {"r9 ", f->r9},
        {"r10", f->r10}, {"r11", f->r11}, {"r12", f->r12}, {"r13", f->r13}, {"r14", f->r14},
        {"r15", f->r15}, {"rfl", f->rflags}, {"cr2", cr2},
    };
    for (unsigned i = 0; i < MP_ARRAY_SIZE(regs); i++) {
        mp_printf(&raw, "  %s %08x%08x%s", regs[i].name, (unsigned)(regs[i].v >> 32),
            (unsigned)regs[i].v, i % 4 == 3 ? "\n" : "");
    }
    mp_print_str(&raw, "\n");
    power_off(STATUS);
}
