// The module `hw`: the whole face of the machine towards Python. No device, no protocol.
// ARCHITECTURE.md lists it. What the data path calls allocates nothing: addresses
// and 32-bit values are small ints.

#include <string.h>

#include "extmod/modmachine.h"
#include "py/gc.h"
#include "py/mperrno.h"
#include "py/mphal.h"
#include "py/objint.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/interrupt_char.h"
#include "shared/runtime/pyexec.h"
#include "barewire.h"

#define INT(v) MP_OBJ_NEW_SMALL_INT(v)

// A function of the module with 0 to 2 arguments, or FUNV: from lo to hi of them in `args`.
// DO0 to DO2: one that returns None.
#define FUN0(name) DEFINE(name, 0, void)
#define FUN1(name, a) DEFINE(name, 1, mp_obj_t a)
#define FUN2(name, a, b) DEFINE(name, 2, mp_obj_t a, mp_obj_t b)
#define FUNV(name, lo, hi) static mp_obj_t hw_##name(size_t n_args, const mp_obj_t *args); \
    static MP_DEFINE_CONST_FUN_OBJ_VAR_BETWEEN(hw_##name##_obj, lo, hi, hw_##name); \
    static mp_obj_t hw_##name(size_t n_args, const mp_obj_t *args)
#define DEFINE(name, n, ...) static mp_obj_t hw_##name(__VA_ARGS__); \
    static MP_DEFINE_CONST_FUN_OBJ_##n(hw_##name##_obj, hw_##name); \
    static mp_obj_t hw_##name(__VA_ARGS__)

#define DO0(name) DO(name, FUN0(name), (), void)
#define DO1(name, a) DO(name, FUN1(name, a), (a), mp_obj_t a)
#define DO2(name, a, b) DO(name, FUN2(name, a, b), (a, b), mp_obj_t a, mp_obj_t b)
#define DO(name, head, actual, ...) static void do_##name(__VA_ARGS__); \
    head { do_##name actual; return mp_const_none; } \
    static void do_##name(__VA_ARGS__)

// Every bit of an int, as machine code and 64-bit registers want them.
static uint64_t get_u64(mp_obj_t o) {
    return mp_obj_is_small_int(o) ? (uint64_t)MP_OBJ_SMALL_INT_VALUE(o) : (uint64_t)mp_obj_get_int_truncated(o);
}

// An absolute time: what lies beyond a small int is never.
static uint64_t get_time(mp_obj_t o) {
    if (!mp_obj_is_small_int(o)) {
        return NEVER;
    }
    mp_int_t t = MP_OBJ_SMALL_INT_VALUE(o);
    return t < 0 ? 0 : t >= 1L << 61 ? NEVER : (uint64_t)t;
}

// ---- ports and memory ----

#define PORT(suffix, type) \
    FUN1(in##suffix, port) { return INT(in##suffix(mp_obj_get_int(port))); } \
    DO2(out##suffix, port, v) { out##suffix(mp_obj_get_int(port), (type)get_u64(v)); }
PORT(b, uint8_t)
PORT(w, uint16_t)
PORT(l, uint32_t)

#define MEMORY(bits) \
    FUN1(read##bits, addr) { return INT(*(volatile uint##bits##_t *)get_u64(addr)); } \
    DO2(write##bits, addr, v) { *(volatile uint##bits##_t *)get_u64(addr) = get_u64(v); }
MEMORY(8)
MEMORY(16)
MEMORY(32)

FUN2(mem, addr, n) { return mp_obj_new_bytearray_by_ref(mp_obj_get_int(n), (void *)get_u64(addr)); }

FUN1(addr, buf) {
    mp_buffer_info_t b;
    mp_get_buffer_raise(buf, &b, MP_BUFFER_READ);
    return INT((uintptr_t)b.buf);
}

// copy(dst, dst_off, src, src_off, n)
FUNV(copy, 5, 5) {
    mp_buffer_info_t d, s;
    mp_get_buffer_raise(args[0], &d, MP_BUFFER_WRITE);
    mp_get_buffer_raise(args[2], &s, MP_BUFFER_READ);
    size_t to = mp_obj_get_int(args[1]), from = mp_obj_get_int(args[3]), n = mp_obj_get_int(args[4]);
    if (to > d.len || n > d.len - to || from > s.len || n > s.len - from) {
        mp_raise_msg(&mp_type_IndexError, MP_ERROR_TEXT("copy outside of a buffer"));
    }
    memmove((char *)d.buf + to, (const char *)s.buf + from, n);
    return mp_const_none;
}

DO0(fence) { __asm__ volatile ("mfence" : : : "memory"); }

// ---- the DMA arena: memory outside the heap, given out until a reset, as it is ----

static uint8_t *dma_next, *dma_end;

FUNV(dma, 1, 2) {
    size_t n = mp_obj_get_int(args[0]), align = n_args > 1 ? mp_obj_get_int(args[1]) : 64;
    if (align == 0 || align & (align - 1)) {
        mp_raise_ValueError(MP_ERROR_TEXT("alignment must be a power of two"));
    }
    uintptr_t start = ((uintptr_t)dma_next + align - 1) & ~(align - 1);
    if (start > (uintptr_t)dma_end || n > (uintptr_t)dma_end - start) {
        mp_raise_msg_varg(&mp_type_MemoryError, MP_ERROR_TEXT("no DMA memory left for %d KB"), (int)(n >> 10));
    }
    mp_obj_t buf = mp_obj_new_bytearray_by_ref(n, (void *)start);
    dma_next = (uint8_t *)start + n;
    return buf;
}

FUN0(dma_left) { return INT(dma_end - dma_next); }

// ---- events: an interrupt schedules one node, whose callback calls Python's handler ----

static mp_sched_node_t event_node;
static bool event_running;
static uint32_t events_seen;    // of hal_events, when the program last looked

static void call_protected(mp_obj_t fn) {
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_call_function_0(fn);
        nlr_pop();
    } else {
        mp_obj_print_exception(&mp_plat_print, MP_OBJ_FROM_PTR(nlr.ret_val));
    }
}

// Runs with the scheduler locked: not re-entrantly, not under hw.lock, and Ctrl-C
// stays pending until it has returned.
static void event_run(mp_sched_node_t *node) {
    (void)node;
    event_running = true;
    if (MP_STATE_PORT(hw_event_fn) != MP_OBJ_NULL) {
        call_protected(MP_STATE_PORT(hw_event_fn));
    }
    event_running = false;
    hal_events++;
}

// A scheduled function of Python's (a timer's, a socket's handler) waits: the scheduler is
// locked until it returns, so what is due is run here. There is no other node than ours.
static void event_run_in_callback(void) {
    irq_off();
    bool due = MP_STATE_VM(sched_state) < 0 && event_node.callback != NULL && !event_running;
    if (due) {
        event_node.callback = NULL;
        MP_STATE_VM(sched_head) = MP_STATE_VM(sched_tail) = NULL;
    }
    irq_on();
    if (due) {
        event_run(&event_node);
    }
}

void hw_event_post(void) {
    hal_events++;
    if (hal_atomic) {
        hal_deferred |= DEFERRED_EVENT;
    } else {
        mp_sched_schedule_node(&event_node, event_run);
    }
}

DO1(on_event, fn) { MP_STATE_PORT(hw_event_fn) = fn == mp_const_none ? MP_OBJ_NULL : fn; }

DO0(lock) { mp_sched_lock(); }

DO0(unlock) {
    if (MP_STATE_VM(sched_state) >= 0) {
        mp_raise_msg(&mp_type_RuntimeError, MP_ERROR_TEXT("not locked"));
    }
    if (MP_STATE_VM(sched_state) == MP_SCHED_LOCKED) {
        // What is handled from here on is news to a program that has looked under the lock.
        events_seen = hal_events;
    }
    mp_sched_unlock();
}

DO1(wait, until_in) {
    uint64_t until = get_time(until_in);
    for (;;) {
        hal_poll();
        event_run_in_callback();
        if (hal_events != events_seen || (until != NEVER && now_us() >= until)) {
            break;
        }
        hal_halt(until, &hal_events, events_seen);
    }
    events_seen = hal_events;
}

DO1(timer, at) { timer_set(get_time(at)); }

// ---- interrupts ----

static unsigned next_vector;

FUN0(irq_vector) {
    if (next_vector > VEC_MSI_END) {
        mp_raise_OSError(MP_ENOSPC);
    }
    unsigned v = next_vector++;
    mp_obj_t t[3] = { INT(v), INT((uintptr_t)&LAPIC(0) | LAPIC(LAPIC_ID) >> 24 << 12), INT(v) };
    return mp_obj_new_tuple(3, t);
}

DO1(irq_unmask, line_in) {
    mp_uint_t line = mp_obj_get_int(line_in);
    irq_off();
    bool ok = irq_unmask(line > 255 ? 255 : line);
    irq_on();
    if (!ok) {
        mp_raise_ValueError(MP_ERROR_TEXT("no such interrupt line"));
    }
}

FUN1(irq_line, line) {
    do_irq_unmask(line);
    return INT(VEC_LINE + mp_obj_get_int(line));
}

FUN1(irq_count, vector) { return INT(irq_counts[mp_obj_get_int(vector) & 255]); }

// ---- time ----

FUN0(ticks_us) { return INT(now_us()); }
FUN0(unix_us) { return INT(unix_us()); }

DO1(set_unix_us, t) { unix_set_us(mp_obj_get_int(t)); }

// ---- CPU ----

FUN0(rdrand) {
    uint64_t v;
    return rdrand(&v) ? mp_obj_new_int_from_ull(v) : mp_const_none;
}

FUNV(cpuid, 1, 2) {
    uint32_t r[4];
    cpuid(get_u64(args[0]), n_args > 1 ? get_u64(args[1]) : 0, r);
    mp_obj_t t[4] = { INT(r[0]), INT(r[1]), INT(r[2]), INT(r[3]) };
    return mp_obj_new_tuple(4, t);
}

// call(addr, up to six ints) -> what the machine code there leaves in rax, signed
FUNV(call, 1, 7) {
    uint64_t v[7] = { 0 };
    for (size_t i = 0; i < n_args; i++) {
        v[i] = get_u64(args[i]);
    }
    int64_t (*f)(uint64_t, uint64_t, uint64_t, uint64_t, uint64_t, uint64_t) = (void *)v[0];
    return mp_obj_new_int_from_ll(f(v[1], v[2], v[3], v[4], v[5], v[6]));
}

// Executable memory: what @native and @viper compile to, and exec(code) -> its address.
static uint8_t *exec_next;

void exec_alloc(size_t n, void **ptr, size_t *size) {
    n = (n + 63) & ~63UL;
    if (n > (size_t)(_exec_end - (char *)exec_next)) {
        mp_raise_msg(&mp_type_MemoryError, MP_ERROR_TEXT("no executable memory left"));
    }
    *ptr = exec_next;
    *size = n;
    exec_next += n;
}

FUN1(exec, code) {
    mp_buffer_info_t b;
    void *p;
    size_t size;
    mp_get_buffer_raise(code, &b, MP_BUFFER_READ);
    exec_alloc(b.len, &p, &size);
    return INT((uintptr_t)memcpy(p, b.buf, b.len));
}

// ---- boot and end ----

FUN0(cmdline) { return mp_obj_new_str(bootinfo.cmdline, strlen(bootinfo.cmdline)); }

FUN0(initrd) {
    return bootinfo.initrd ? mp_obj_new_bytearray_by_ref(bootinfo.initrd_len, bootinfo.initrd) : mp_const_none;
}

FUN0(ram) { return INT(bootinfo.ram); }

DO1(at_reset, fn) { MP_STATE_PORT(hw_reset_fn) = fn == mp_const_none ? MP_OBJ_NULL : fn; }

FUN1(exit, status) { power_off(get_u64(status)); }

FUN0(reset) { machine_reset(); }

// interrupt(byte) -> whether this byte, come by a console of Python's, interrupts the program
FUN1(interrupt, byte) {
    bool hit = mp_obj_get_int(byte) == mp_interrupt_char;
    if (hit) {
        mp_sched_keyboard_interrupt();
    }
    return mp_obj_new_bool(hit);
}

// raw() -> whether a tool holds the prompt in raw mode (its soft reset wants no main program)
FUN0(raw) { return mp_obj_new_bool(pyexec_mode_kind == PYEXEC_MODE_RAW_REPL); }

// poll(stream, flags) -> those that are ready, of POLLIN and the rest. How a select in Python
// asks sys.stdin and other streams written in C.
FUN2(poll, stream, flags) {
    int err = 0;
    const mp_stream_p_t *p = mp_get_stream_raise(stream, MP_STREAM_OP_IOCTL);
    mp_uint_t r = p->ioctl(stream, MP_STREAM_POLL, mp_obj_get_int(flags), &err);
    if (r == MP_STREAM_ERROR) {
        mp_raise_OSError(err);
    }
    return INT(r);
}

FUN0(serial_overflows) { return INT(serial_overflows); }

// ---- Guard(addr): writes 1 to the byte at addr when it is collected ----

typedef struct {
    mp_obj_base_t base;
    volatile uint8_t *addr;
} guard_t;

static mp_obj_t guard_make_new(const mp_obj_type_t *type, size_t n, size_t n_kw, const mp_obj_t *args) {
    mp_arg_check_num(n, n_kw, 1, 1, false);
    guard_t *g = mp_obj_malloc_with_finaliser(guard_t, type);
    g->addr = (volatile uint8_t *)get_u64(args[0]);
    return MP_OBJ_FROM_PTR(g);
}

static mp_obj_t guard_del(mp_obj_t self) {
    *((guard_t *)MP_OBJ_TO_PTR(self))->addr = 1;
    return mp_const_none;
}
static MP_DEFINE_CONST_FUN_OBJ_1(guard_del_obj, guard_del);

static const mp_rom_map_elem_t guard_table[] = {
    { MP_ROM_QSTR(MP_QSTR___del__), MP_ROM_PTR(&guard_del_obj) },
};
static MP_DEFINE_CONST_DICT(guard_dict, guard_table);
static MP_DEFINE_CONST_OBJ_TYPE(guard_type, MP_QSTR_Guard, MP_TYPE_FLAG_NONE,
    make_new, guard_make_new, locals_dict, &guard_dict);

// ---- start and stop of a session (between them: mp_init .. mp_deinit) ----

void hw_start(uint8_t *arena, uint8_t *arena_end) {
    dma_next = arena;
    dma_end = arena_end;
    exec_next = (uint8_t *)_exec_start;
    next_vector = VEC_MSI;
    memset(&event_node, 0, sizeof(event_node));
    MP_STATE_VM(sched_head) = MP_STATE_VM(sched_tail) = NULL;
    MP_STATE_PORT(hw_event_fn) = MP_STATE_PORT(hw_reset_fn) = MP_OBJ_NULL;
    hal_atomic = hal_deferred = event_running = 0;
}

// What sys.atexit and hw.at_reset named is called once.
void hw_run_exit_functions(void) {
    mp_obj_t fns[2] = { MP_STATE_VM(sys_exitfunc), MP_STATE_PORT(hw_reset_fn) };
    MP_STATE_VM(sys_exitfunc) = mp_const_none;
    MP_STATE_PORT(hw_reset_fn) = MP_OBJ_NULL;
    for (unsigned i = 0; i < 2; i++) {
        if (fns[i] != MP_OBJ_NULL && fns[i] != mp_const_none) {
            call_protected(fns[i]);
        }
    }
}

void hw_stop(void) {
    hw_run_exit_functions();
    timer_set(NEVER);
    irq_off();
    irq_reset();
}

MP_REGISTER_ROOT_POINTER(mp_obj_t hw_event_fn);
MP_REGISTER_ROOT_POINTER(mp_obj_t hw_reset_fn);

#define F(name) { MP_ROM_QSTR(MP_QSTR_##name), MP_ROM_PTR(&hw_##name##_obj) }
static const mp_rom_map_elem_t hw_table[] = {
    { MP_ROM_QSTR(MP_QSTR___name__), MP_ROM_QSTR(MP_QSTR_hw) },
    F(inb), F(inw), F(inl), F(outb), F(outw), F(outl),
    F(read8), F(read16), F(read32), F(write8), F(write16), F(write32),
    F(mem), F(addr), F(copy), F(fence), F(dma), F(dma_left),
    F(on_event), F(lock), F(unlock), F(wait), F(timer),
    F(irq_vector), F(irq_line), F(irq_unmask), F(irq_count),
    F(ticks_us), F(unix_us), F(set_unix_us),
    F(rdrand), F(cpuid), F(call), F(exec),
    F(cmdline), F(initrd), F(ram), F(at_reset), F(exit), F(reset), F(raw), F(interrupt), F(poll), F(serial_overflows),
    { MP_ROM_QSTR(MP_QSTR_mem8), MP_ROM_PTR(&machine_mem8_obj) },
    { MP_ROM_QSTR(MP_QSTR_mem16), MP_ROM_PTR(&machine_mem16_obj) },
    { MP_ROM_QSTR(MP_QSTR_mem32), MP_ROM_PTR(&machine_mem32_obj) },
    { MP_ROM_QSTR(MP_QSTR_Guard), MP_ROM_PTR(&guard_type) },
};
static MP_DEFINE_CONST_DICT(hw_globals, hw_table);
const mp_obj_module_t hw_module = { { &mp_type_module }, (mp_obj_dict_t *)&hw_globals };
MP_REGISTER_MODULE(MP_QSTR_hw, hw_module);
