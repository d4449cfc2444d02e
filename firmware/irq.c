// Interrupt controllers. Lines 0 to 15 come through the PIC (virtual wire: ExtINT on the
// local APIC's LINT0), higher ones through the IOAPIC, MSI-X and the timer directly.
// A device's line is masked when it fires, until Python has served the device and calls
// hw.irq_unmask: C knows no device that it could ask to be quiet.

#include "barewire.h"

#define IOAPIC_SEL (*(volatile uint32_t *)0xfec00000UL)
#define IOAPIC_WIN (*(volatile uint32_t *)0xfec00010UL)
enum { LAPIC_EOI = 0xb0, LAPIC_SVR = 0xf0, LAPIC_TIMER = 0x320, LAPIC_LINT0 = 0x350, LAPIC_DIVIDE = 0x3e0 };
enum { PIC1 = 0x20, PIC2 = 0xa0, READ_ISR = 0x0b, EOI = 0x20 };
enum { LINE_CASCADE = 2, LINE_SERIAL = 4, LINE_IOAPIC = 16, LINES = VEC_MSI - VEC_LINE };
#define PIC_MASK_ALL ((uint16_t)~(1 << LINE_CASCADE | 1 << LINE_SERIAL))
#define REDIRECT_MASKED (1u << 16)
#define REDIRECT_LEVEL (1u << 15)

volatile uint32_t irq_counts[256];
static uint16_t pic_masked;

static void pic_write_mask(uint16_t mask) {
    pic_masked = mask;
    outb(PIC1 + 1, mask);
    outb(PIC2 + 1, mask >> 8);
}

static void ioapic_write(uint32_t reg, uint32_t v) {
    IOAPIC_SEL = reg;
    IOAPIC_WIN = v;
}

static void ioapic_set(unsigned line, uint32_t mask) {
    ioapic_write(0x11 + 2 * line, LAPIC(LAPIC_ID));
    ioapic_write(0x10 + 2 * line, mask | REDIRECT_LEVEL | (VEC_LINE + line));
}

void irq_init(void) {
    const uint8_t init[] = { 0x11, VEC_LINE, 1 << LINE_CASCADE, 1, 0x11, VEC_LINE + 8, LINE_CASCADE, 1 };
    for (unsigned i = 0; i < 8; i++) {
        outb((i < 4 ? PIC1 : PIC2) + (i % 4 != 0), init[i]);
    }
    pic_write_mask(PIC_MASK_ALL);
    LAPIC(LAPIC_SVR) = 0x100 | VEC_SPURIOUS;
    LAPIC(LAPIC_LINT0) = 0x700;
    LAPIC(LAPIC_DIVIDE) = 3;        // by 16: 16 ns steps, 68 s at most, in QEMU
    LAPIC(LAPIC_TIMER) = VEC_TIMER;
}

// A soft reset: every line but the console's is masked again.
void irq_reset(void) {
    pic_write_mask(PIC_MASK_ALL);
    for (unsigned line = LINE_IOAPIC; line < LINES; line++) {
        if (irq_counts[VEC_LINE + line]) {
            ioapic_set(line, REDIRECT_MASKED);
        }
        irq_counts[VEC_LINE + line] = 0;
    }
}

bool irq_unmask(unsigned line) {
    if (line < LINE_IOAPIC) {
        pic_write_mask(pic_masked & ~(1u << line));
        return true;
    }
    IOAPIC_SEL = 1;
    uint32_t version = IOAPIC_WIN;
    if (line >= LINES || version == UINT32_MAX || line > (version >> 16 & 0xff)) {
        return false;
    }
    ioapic_set(line, 0);
    return true;
}

static void pic_interrupt(unsigned line) {
    if (line % 8 == 7) {            // the PIC's own spurious interrupt has no bit in service
        uint16_t pic = line == 7 ? PIC1 : PIC2;
        outb(pic, READ_ISR);
        if (!(inb(pic) & 0x80)) {
            if (line == 15) {
                outb(PIC1, EOI);
            }
            return;
        }
    }
    if (line == LINE_SERIAL) {
        serial_interrupt();
    } else {
        pic_write_mask(pic_masked | 1u << line);
        hw_event_post();
    }
    if (line >= 8) {
        outb(PIC2, EOI);
    }
    outb(PIC1, EOI);
}

void on_interrupt(uint32_t vector) {
    irq_counts[vector]++;
    if (vector < VEC_LINE + LINE_IOAPIC) {
        pic_interrupt(vector - VEC_LINE);
        return;
    }
    if (vector == VEC_SPURIOUS) {
        return;
    }
    if (vector == VEC_TIMER) {
        timer_interrupt();
    } else {
        if (vector < VEC_MSI) {
            ioapic_set(vector - VEC_LINE, REDIRECT_MASKED);
        }
        hw_event_post();
    }
    LAPIC(LAPIC_EOI) = 0;
}
