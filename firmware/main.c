// The order of things: the machine is made ready once; then each session is a MicroPython
// that runs stack.boot and the prompt, until a soft reset begins the next.

#include "py/builtin.h"
#include "py/cstack.h"
#include "py/frozenmod.h"
#include "py/gc.h"
#include "py/mphal.h"
#include "py/pystack.h"
#include "py/runtime.h"
#include "shared/readline/readline.h"
#include "shared/runtime/gchelper.h"
#include "shared/runtime/interrupt_char.h"
#include "shared/runtime/pyexec.h"
#include "barewire.h"

#define MB (1024UL * 1024)

static uint64_t pystack[128 * 1024 / 8];

void gc_collect(void) {
    gc_collect_start();
    gc_helper_collect_regs_and_stack();
    gc_collect_end();
}

// A quarter of RAM, but small enough to be scanned soon.
static size_t heap_size(void) {
    size_t n = bootinfo.ram / 4, room = bootinfo.free_end - bootinfo.free;
    n = n < 1 * MB ? 1 * MB : n > 64 * MB ? 64 * MB : n;
    return n > room / 2 ? room / 2 : n;
}

// sys.exit(n) ends the machine with n; sys.exit("why") says why.
static void exit_with(mp_obj_t exc) {
    mp_obj_t value = mp_obj_exception_get_value(exc);
    mp_int_t status = 1;
    if (value == mp_const_none) {
        status = 0;
    } else if (!mp_obj_get_int_maybe(value, &status)) {
        mp_obj_print(value, PRINT_STR);
        mp_print_str(&mp_plat_print, "\n");
    }
    hw_run_exit_functions();
    power_off(status);
}

// Command line, file systems, network and main program are Python's business.
static void run_boot(void) {
    int type;
    void *data;
    if (mp_find_frozen_module("stack/boot.py", &type, &data) != MP_IMPORT_STAT_FILE) {
        return;
    }
    nlr_buf_t nlr;
    if (nlr_push(&nlr) == 0) {
        mp_hal_set_interrupt_char(CHAR_CTRL_C);
        mp_import_name(qstr_from_str("stack.boot"), mp_const_none, MP_OBJ_NEW_SMALL_INT(0));
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(true);
        nlr_pop();
    } else {
        mp_hal_set_interrupt_char(-1);
        mp_handle_pending(false);
        mp_obj_t exc = MP_OBJ_FROM_PTR(nlr.ret_val);
        if (mp_obj_exception_match(exc, MP_OBJ_FROM_PTR(&mp_type_SystemExit))) {
            exit_with(exc);
        }
        mp_obj_print_exception(&mp_plat_print, exc);
    }
}

static void prompt(void) {
    while (!(pyexec_mode_kind == PYEXEC_MODE_RAW_REPL ? pyexec_raw_repl() : pyexec_friendly_repl())) {
    }
}

static void session(void) {
    uint8_t *heap = bootinfo.free, *arena = heap + heap_size();
    hw_start(arena, bootinfo.free_end);
    mp_cstack_init_with_top(stack_top, stack_top - stack_bottom);
    mp_pystack_init(pystack, (char *)pystack + sizeof(pystack));
    gc_init(heap, arena);
    mp_init();
    irq_on();
    run_boot();
    prompt();
    mp_printf(&mp_plat_print, "MPY: soft reboot\n");
    hw_stop();
    gc_sweep_all();
    mp_deinit();
}

int main(void) {
    bootinfo_init();
    mmu_init();
    trap_init();
    serial_init();
    irq_init();
    clock_init();
    if (bootinfo.free_end - bootinfo.free < (ptrdiff_t)(1 * MB)) {
        fatal("the loader tells of no RAM");
    }
    for (;;) {
        session();
    }
}
