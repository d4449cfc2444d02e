// The parts of the HAL that MicroPython wants as macros or inline.
#include "shared/runtime/interrupt_char.h"
#include "barewire.h"

void hal_wfe(mp_uint_t timeout_ms);

// An atomic section masks no interrupt (cli and sti are dear under TCG): an interrupt in it
// notes what it would have scheduled, and the section's end does that.
static inline mp_uint_t hal_atomic_begin(void) {
    hal_atomic++;
    __asm__ volatile ("" : : : "memory");
    return 0;
}
static inline void hal_atomic_end(void) {
    __asm__ volatile ("" : : : "memory");
    if (--hal_atomic == 0 && hal_deferred) {
        hal_run_deferred();
    }
}
#define MICROPY_BEGIN_ATOMIC_SECTION() hal_atomic_begin()
#define MICROPY_END_ATOMIC_SECTION(state) ((void)(state), hal_atomic_end())
#define MICROPY_INTERNAL_WFE(timeout_ms) hal_wfe(timeout_ms)

static inline mp_uint_t mp_hal_ticks_cpu(void) {
    return rdtsc();
}
