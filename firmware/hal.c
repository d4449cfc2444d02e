// Console, clock and halt: what MicroPython's mphal asks for. Everything that waits
// (a key, a sleep, hw.wait) runs what is scheduled and then halts until an interrupt.

#include "extmod/misc.h"
#include "py/mphal.h"
#include "py/mpstate.h"
#include "py/runtime.h"
#include "py/stream.h"
#include "shared/runtime/interrupt_char.h"
#include "shared/timeutils/timeutils.h"
#include "barewire.h"

// ---- COM1, a 16550 ----

enum { COM = 0x3f8, IER = COM + 1, FCR = COM + 2, LCR = COM + 3, MCR = COM + 4, LSR = COM + 5 };
enum { LSR_DATA = 1, LSR_THR_EMPTY = 0x20, FIFO = 16, RING = 8192 };
#define TX_PATIENCE_US 2000000  // a console that takes nothing for so long loses output

static uint8_t ring[RING];
static volatile uint32_t ring_head, ring_tail;  // only grow; masked on use
uint32_t serial_overflows;

volatile uint32_t hal_events, hal_atomic, hal_deferred;

void serial_init(void) {
    outb(LCR, 0x80);
    outb(COM, 1);               // 115200 baud
    outb(IER, 0);
    outb(LCR, 3);               // 8N1
    outb(FCR, 0x07);            // FIFOs on and empty, an interrupt for each byte
    outb(MCR, 0x0b);            // DTR, RTS, and OUT2, which lets interrupts through
    outb(IER, 1);
}

void serial_interrupt(void) {
    while (inb(LSR) & LSR_DATA) {
        uint8_t c = inb(COM);
        if (c == mp_interrupt_char) {
            if (hal_atomic) {
                hal_deferred |= DEFERRED_KBD;
            } else {
                mp_sched_keyboard_interrupt();
            }
        } else if (ring_head - ring_tail < RING) {
            ring[ring_head % RING] = c;
            ring_head++;
        } else {
            serial_overflows++;
        }
        hal_events++;
    }
}

mp_uint_t mp_hal_stdout_tx_strn(const char *s, size_t n) {
    static bool stalled;
    mp_os_dupterm_tx_strn(s, n);
    for (size_t left = n; left;) {
        if (!(inb(LSR) & LSR_THR_EMPTY)) {
            uint64_t start = now_us();
            while (!(inb(LSR) & LSR_THR_EMPTY)) {
                if (stalled || now_us() - start > TX_PATIENCE_US) {
                    stalled = true;
                    return n;
                }
            }
        }
        stalled = false;
        for (unsigned i = 0; i < FIFO && left; i++, left--) {
            outb(COM, *s++);
        }
    }
    return n;
}

int mp_hal_stdin_rx_chr(void) {
    for (;;) {
        hal_poll();
        uint32_t seen = hal_events;     // whatever comes from here on ends the halt
        if (ring_head != ring_tail) {
            int c = ring[ring_tail % RING];
            ring_tail++;
            return c;
        }
        int c = mp_os_dupterm_rx_chr();
        if (c >= 0) {
            return c;
        }
        hal_halt(NEVER, &hal_events, seen);
    }
}

uintptr_t mp_hal_stdio_poll(uintptr_t flags) {
    return (flags & (ring_head != ring_tail ? MP_STREAM_POLL_WR | MP_STREAM_POLL_RD : MP_STREAM_POLL_WR))
        | mp_os_dupterm_poll(flags);
}

// ---- the clock: TSC, its rate measured against the local APIC's timer, which runs at 1 GHz
// in QEMU and in KVM; the date from the CMOS clock ----

#define TIMER_HZ (1000000000ULL / 16)
#define SPAN_US 1000

static uint64_t tsc_start;
static uint64_t us_per_tsc;             // 32.32 fixed point
static int64_t unix_base_us;            // wall clock at tsc_start

// Both read at one time, the tightest of a few readings: another may have had the host's
// scheduler in the middle.
static void sample(uint64_t *tsc, uint32_t *left) {
    for (uint64_t i = 0, best = NEVER; i < 8; i++) {
        uint64_t before = rdtsc();
        uint32_t now_left = LAPIC(LAPIC_TIMER_LEFT);
        uint64_t after = rdtsc();
        if (after - before < best) {
            best = after - before;
            *tsc = after;
            *left = now_left;
        }
    }
}

static void calibrate(void) {
    uint64_t a, b;
    uint32_t left_a, left_b;
    LAPIC(LAPIC_TIMER_START) = UINT32_MAX;
    sample(&a, &left_a);
    do {
        sample(&b, &left_b);
    } while (left_a - left_b < SPAN_US * TIMER_HZ / 1000000);
    LAPIC(LAPIC_TIMER_START) = 0;
    us_per_tsc = ((uint64_t)(left_a - left_b) * 1000000 << 12) / ((b - a) * TIMER_HZ >> 20);
}

static unsigned cmos(unsigned reg) {
    outb(0x70, reg);
    return inb(0x71);
}

static int64_t cmos_seconds(void) {
    static const uint8_t regs[] = { 0, 2, 4, 7, 8, 9 };     // second .. hour, day, month, year
    unsigned v[6];
    if (cmos(10) == 0xff) {
        return 0;               // no such clock: 1970
    }
    do {
        for (unsigned i = 0; i < 100000 && cmos(10) & 0x80; i++) {
        }
        for (unsigned i = 0; i < 6; i++) {
            v[i] = cmos(regs[i]);
        }
    } while (cmos(0) != v[0]);
    for (unsigned i = 0; i < 6; i++) {
        v[i] = (v[i] >> 4) * 10 + (v[i] & 15);      // BCD and 24 hours, as every PC has it
    }
    return timeutils_seconds_since_epoch(2000 + v[5], v[4], v[3], v[2], v[1], v[0]);
}

void clock_init(void) {
    calibrate();
    tsc_start = rdtsc();
    unix_base_us = cmos_seconds() * 1000000;
}

uint64_t now_us(void) {
    return (unsigned __int128)(rdtsc() - tsc_start) * us_per_tsc >> 32;
}

int64_t unix_us(void) { return unix_base_us + now_us(); }
void unix_set_us(int64_t t) { unix_base_us = t - now_us(); }
mp_uint_t mp_hal_ticks_us(void) { return now_us(); }
mp_uint_t mp_hal_ticks_ms(void) { return now_us() / 1000; }
uint64_t mp_hal_time_ns(void) { return unix_us() * 1000; }

// ---- one hardware timer for two deadlines: hw.timer's and the current wait's ----

static volatile uint64_t armed = NEVER, wanted = NEVER;

static void arm(uint64_t at) {
    if (at >= armed) {
        return;                 // the earlier interrupt will arm again
    }
    armed = at;
    uint64_t now = now_us(), wait = at > now ? at - now : 0;
    uint64_t count = wait < 60000000 ? wait * TIMER_HZ / 1000000 + 1 : UINT32_MAX;
    LAPIC(LAPIC_TIMER_START) = count;
}

void timer_interrupt(void) {
    armed = NEVER;
    if (wanted <= now_us()) {
        wanted = NEVER;
        hw_event_post();
    } else if (wanted != NEVER) {
        arm(wanted);
    }
}

void timer_set(uint64_t at) {
    irq_off();
    wanted = at;
    if (at != NEVER) {
        arm(at);
    }
    irq_on();
}

// ---- waiting ----

// Run what is scheduled and raise Ctrl-C, unless the scheduler is locked.
void hal_poll(void) {
    if (MP_STATE_VM(sched_state) == MP_SCHED_PENDING) {
        mp_handle_pending(true);
    }
}

// Halt until an interrupt; return at once if something is scheduled, the time has come, or
// `counter` (may be NULL) is no longer `seen`. Between the test and the halt no interrupt
// can slip in: sti takes effect after the instruction that follows it.
void hal_halt(uint64_t until, const volatile uint32_t *counter, uint32_t seen) {
    irq_off();
    if (MP_STATE_VM(sched_state) == MP_SCHED_PENDING || (counter && *counter != seen)
        || (until != NEVER && until <= now_us())) {
        irq_on();
        return;
    }
    if (until != NEVER) {
        arm(until);
    }
    __asm__ volatile ("sti; hlt" : : : "memory");
}

void hal_wfe(mp_uint_t timeout_ms) {
    hal_halt(timeout_ms == (mp_uint_t)-1 ? NEVER : now_us() + timeout_ms * 1000, NULL, 0);
}

void mp_hal_delay_us(mp_uint_t us) {
    uint64_t end = now_us() + us;
    do {
        hal_poll();
        if (us > 50) {
            hal_halt(end, NULL, 0);
        }
    } while (now_us() < end);
    hal_poll();
}

void mp_hal_delay_ms(mp_uint_t ms) { mp_hal_delay_us(ms * 1000); }

void hal_run_deferred(void) {
    uint32_t what = __atomic_exchange_n(&hal_deferred, 0, __ATOMIC_RELAXED);
    if (what & DEFERRED_EVENT) {
        hw_event_post();
    }
    if (what & DEFERRED_KBD) {
        mp_sched_keyboard_interrupt();
    }
}

// ---- the rest ----

bool rdrand(uint64_t *out) {
    uint32_t r[4];
    cpuid(1, 0, r);
    for (int i = 0; r[2] & 1u << 30 && i < 10; i++) {
        bool ok;
        __asm__ volatile ("rdrand %0" : "=r" (*out), "=@ccc" (ok));
        if (ok) {
            return true;
        }
    }
    return false;
}

// Good enough to seed `random`; not for keys where there is no RDRAND.
uint32_t hal_seed(void) {
    uint64_t v;
    return rdrand(&v) ? v : rdtsc() * 0x9e3779b97f4a7c15ULL >> 32;
}

void power_off(uint32_t status) {
    irq_off();
    outl(0xf4, status < 128 ? status : 126);    // isa-debug-exit: QEMU exits with 2 * it + 1
    outw(0x604, 0x2000);        // ACPI S5 on q35 and pc
    *(volatile uint8_t *)0xfea00200 = 0x34;     // and on microvm
    for (;;) {
        __asm__ volatile ("cli; hlt");
    }
}

void machine_reset(void) {
    irq_off();
    outb(0xcf9, 6);
    outb(0x64, 0xfe);
    const table_register_t none = { 0, 0 };
    for (;;) {
        __asm__ volatile ("lidt %0; int3" : : "m" (none));   // the triple fault
    }
}
