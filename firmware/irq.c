// Interrupt controllers: the IOAPICs for lines, the local APIC for MSI-X and the timer. The
// PIC is silenced. QEMU's machines give every line to an IOAPIC: 0 to 23 to the first, and
// where there is a second (microvm) 24 to 47 to that.
// A device's line is masked when it fires, until Python has served the device and calls
// hw.irq_unmask: C knows no device that it could ask to be quiet.

#include "barewire.h"

#define IOAPIC(line) ((volatile uint32_t *)((line) < PINS ? 0xfec00000UL : 0xfec10000UL))
enum { LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_TIMER = 0x320, LAPIC_LINT0 = 0x350, LAPIC_DIVIDE = 0x3e0 };
enum { PIC1 = 0x20, PIC2 = 0xa0, PINS = 24, LINE_SERIAL = 4, LINES = VEC_MSI - VEC_LINE };
#define MASKED (1u << 16)
#define LEVEL (1u << 15)

volatile uint32_t irq_counts[256];

static void ioapic_write(unsigned line, uint32_t reg, uint32_t v) {
    IOAPIC(line)[0] = reg;
    IOAPIC(line)[4] = v;
}

static void line_set(unsigned line, uint32_t mask) {
    ioapic_write(line, 0x10 + 2 * (line % PINS), mask | LEVEL | (VEC_LINE + line));
}

// False if there is no such line.
bool irq_unmask(unsigned line) {
    IOAPIC(line)[0] = 1;
    uint32_t version = IOAPIC(line)[4];
    if (line >= LINES || version == UINT32_MAX || line % PINS > (version >> 16 & 0xff)) {
        return false;
    }
    ioapic_write(line, 0x11 + 2 * (line % PINS), LAPIC(LAPIC_ID));
    line_set(line, 0);
    return true;
}

// Also at a soft reset: every line but the console's is masked.
void irq_reset(void) {
    for (unsigned line = 0; line < LINES; line++) {
        if (line != LINE_SERIAL && irq_counts[VEC_LINE + line]) {
            line_set(line, MASKED);
            irq_counts[VEC_LINE + line] = 0;
        }
    }
}

void irq_init(void) {
    outb(PIC1 + 1, 0xff);
    outb(PIC2 + 1, 0xff);
    LAPIC(LAPIC_SVR) = 0x100 | VEC_SPURIOUS;
    LAPIC(LAPIC_LINT0) = MASKED;
    LAPIC(LAPIC_DIVIDE) = 3;        // by 16: 16 ns steps, 68 s at most, in QEMU
    LAPIC(LAPIC_TIMER) = VEC_TIMER;
    irq_unmask(LINE_SERIAL);
}

void on_interrupt(uint32_t vector) {
    irq_counts[vector]++;
    if (vector == VEC_SPURIOUS) {
        return;
    }
    if (vector == VEC_TIMER) {
        timer_interrupt();
    } else if (vector == VEC_LINE + LINE_SERIAL) {
        serial_interrupt();
    } else {
        if (vector < VEC_MSI) {
            line_set(vector - VEC_LINE, MASKED);
        }
        hw_event_post();
    }
    LAPIC(LAPIC_EOI) = 0;
}
