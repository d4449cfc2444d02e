// Interrupt controllers. Lines 0 to 15 come through the PIC (virtual wire: ExtINT on the
// local APIC's LINT0), higher ones through the IOAPIC, MSI-X and the timer directly.
// A device's line is masked when it fires, until Python has served the device and calls
// hw.irq_unmask: C knows no device that it could ask to be quiet.

#include "barewire.h"

#define LAPIC_REG(off) (*(volatile uint32_t *)(0xfee00000UL + (off)))
#define IOAPIC_SEL (*(volatile uint32_t *)0xfec00000UL)
#define IOAPIC_WIN (*(volatile uint32_t *)0xfec00010UL)
enum { L_ID = 0x20, L_EOI = 0xb0, L_SVR = 0xf0, L_TIMER = 0x320, L_LINT0 = 0x350, L_INIT = 0x380, L_LEFT = 0x390, L_DIVIDE = 0x3e0 };
enum { PIC1 = 0x20, PIC2 = 0xa0, READ_ISR = 0x0b, EOI = 0x20, CASCADE = 2 };
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
    ioapic_write(0x11 + 2 * line, lapic_id() << 24);
    ioapic_write(0x10 + 2 * line, mask | REDIRECT_LEVEL | (VEC_IOAPIC + line - 16));
}

uint32_t lapic_id(void) {
    return LAPIC_REG(L_ID) >> 24;
}

void lapic_timer_start(uint32_t count) {
    LAPIC_REG(L_INIT) = count;
}

uint32_t lapic_timer_left(void) {
    return LAPIC_REG(L_LEFT);
}

void irq_init(void) {
    const uint8_t init[] = { 0x11, VEC_PIC, 1 << CASCADE, 1, 0x11, VEC_PIC + 8, CASCADE, 1 };
    for (unsigned i = 0; i < 8; i++) {
        outb((i < 4 ? PIC1 : PIC2) + (i % 4 != 0), init[i]);
    }
    pic_write_mask((uint16_t)~(1 << CASCADE | 1 << LINE_SERIAL));
    LAPIC_REG(L_SVR) = 0x100 | VEC_SPURIOUS;
    LAPIC_REG(L_LINT0) = 0x700;
    LAPIC_REG(L_DIVIDE) = 3;        // by 16: 16 ns steps, 68 s at most, in QEMU
    LAPIC_REG(L_TIMER) = VEC_TIMER;
}

// A soft reset: every line but the console's is masked again.
void irq_reset(void) {
    pic_write_mask((uint16_t)~(1 << CASCADE | 1 << LINE_SERIAL));
    for (unsigned line = 16; line < 16 + IOAPIC_LINES; line++) {
        if (irq_counts[VEC_IOAPIC + line - 16]) {
            ioapic_set(line, REDIRECT_MASKED);
        }
        irq_counts[VEC_IOAPIC + line - 16] = 0;
    }
}

unsigned irq_line_vector(unsigned line) {
    return line < 16 ? VEC_PIC + line : VEC_IOAPIC + line - 16;
}

bool irq_unmask(unsigned line) {
    if (line < 16) {
        pic_write_mask(pic_masked & ~(1u << line));
        return true;
    }
    IOAPIC_SEL = 1;
    uint32_t version = IOAPIC_WIN;
    if (line >= 16 + IOAPIC_LINES || version == UINT32_MAX || line > (version >> 16 & 0xff)) {
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
    if (vector < VEC_IOAPIC) {
        pic_interrupt(vector - VEC_PIC);
        return;
    }
    if (vector == VEC_SPURIOUS) {
        return;
    }
    if (vector == VEC_TIMER) {
        timer_interrupt();
    } else {
        if (vector < VEC_MSI) {
            ioapic_set(vector - VEC_IOAPIC + 16, REDIRECT_MASKED);
        }
        hw_event_post();
    }
    LAPIC_REG(L_EOI) = 0;
}
