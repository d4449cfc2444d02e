// What the firmware's files show each other: port access, and one block a file.
#ifndef BAREWIRE_H
#define BAREWIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NEVER UINT64_MAX

#define PORT_ACCESS(suffix, type) \
    static inline type in##suffix(uint16_t port) { \
        type v; \
        __asm__ volatile ("in" #suffix " %1, %0" : "=a" (v) : "Nd" (port)); \
        return v; \
    } \
    static inline void out##suffix(uint16_t port, type v) { \
        __asm__ volatile ("out" #suffix " %0, %1" : : "a" (v), "Nd" (port)); \
    }
PORT_ACCESS(b, uint8_t)
PORT_ACCESS(w, uint16_t)
PORT_ACCESS(l, uint32_t)

typedef struct {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed)) table_register_t;     // what lgdt and lidt take

static inline uint64_t rdtsc(void) {
    uint32_t lo, hi;
    __asm__ volatile ("rdtsc" : "=a" (lo), "=d" (hi));
    return (uint64_t)hi << 32 | lo;
}
static inline void cpuid(uint32_t leaf, uint32_t sub, uint32_t out[4]) {
    __asm__ volatile ("cpuid" : "=a" (out[0]), "=b" (out[1]), "=c" (out[2]), "=d" (out[3])
        : "a" (leaf), "c" (sub));
}
static inline void irq_off(void) {
    __asm__ volatile ("cli" : : : "memory");
}
static inline void irq_on(void) {
    __asm__ volatile ("sti" : : : "memory");
}

// boot.S, link.ld
extern char _text_start[], _text_end[], _rodata_end[], _exec_start[], _exec_end[], _end[];
extern char stack_guard[], stack_bottom[], stack_top[];
extern uint32_t boot_magic, boot_info;
extern uint64_t pml4[512], pd[4 * 512], gdt[];
extern const table_register_t gdtr;

// bootinfo.c: what the loader tells
typedef struct {
    uint64_t ram;               // bytes of RAM, all of it
    uint8_t *free, *free_end;   // the largest stretch that is nobody's, below 4 GB
    uint8_t *initrd;            // NULL when there is none
    size_t initrd_len;
    char cmdline[2048];
} bootinfo_t;
extern bootinfo_t bootinfo;
void bootinfo_init(void);

// mmu.c
void mmu_init(void);
bool mmu_map_device(uint64_t addr);

// entry.S, trap.c
void trap_init(void);
void fatal(const char *why) __attribute__((noreturn));

// irq.c: interrupt controllers
// A line's vector is VEC_LINE + line: 16 of the PIC, then the IOAPIC's.
enum { VEC_LINE = 32, VEC_MSI = 80, VEC_MSI_END = 238, VEC_TIMER = 239, VEC_SPURIOUS = 255 };
enum { LAPIC_ID = 0x20, LAPIC_TIMER_START = 0x380, LAPIC_TIMER_LEFT = 0x390 };
#define LAPIC(reg) (*(volatile uint32_t *)(0xfee00000UL + (reg)))
extern volatile uint32_t irq_counts[256];
void irq_init(void);
void irq_reset(void);
bool irq_unmask(unsigned line);

// hal.c: console, clock, halt
void serial_init(void);
void serial_interrupt(void);
void clock_init(void);
void timer_interrupt(void);
void timer_set(uint64_t at_us);
uint64_t now_us(void);
int64_t unix_us(void);
void unix_set_us(int64_t t);
void hal_poll(void);
void hal_halt(uint64_t until_us, const volatile uint32_t *counter, uint32_t seen);
bool rdrand(uint64_t *out);
void power_off(uint32_t status) __attribute__((noreturn));
void machine_reset(void) __attribute__((noreturn));
extern volatile uint32_t hal_events;    // grows with every event and every key
extern volatile uint32_t hal_atomic;    // nonzero: an interrupt leaves the scheduler alone
extern volatile uint32_t hal_deferred;  // what such an interrupt left to be done
enum { DEFERRED_EVENT = 1, DEFERRED_KBD = 2 };
void hal_run_deferred(void);
extern uint32_t serial_overflows;

// modhw.c
void hw_event_post(void);
void hw_start(uint8_t *arena, uint8_t *arena_end);
void hw_stop(void);
void hw_run_exit_functions(void);

#endif
