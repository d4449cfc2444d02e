// Rights of memory: nothing at page 0 and under the stack, code not writable, data not
// executable. The first 8 MB (the image lies there) are mapped by 4 KB pages, the
// rest below 4 GB by 2 MB pages. Above 4 GB, where firmware puts 64-bit BARs, a
// page is mapped uncached when it is first touched.

#include "barewire.h"

#define PRESENT  (1ULL << 0)
#define WRITE    (1ULL << 1)
#define UNCACHED (3ULL << 3)
#define LARGE    (1ULL << 7)
#define EXTRA_TABLES 16     // 8 GB of devices if they lie together, else fewer

static uint64_t low[4 * 512] __attribute__((aligned(4096)));
static uint64_t extra[EXTRA_TABLES][512] __attribute__((aligned(4096)));
static unsigned extra_used;
static uint64_t nx;         // 0 on a CPU without it
static unsigned address_bits;

static uint64_t rights(uint64_t page) {
    if (page == 0 || page == (uintptr_t)stack_guard) {
        return 0;
    }
    if (page >= (uintptr_t)_text_start && page < (uintptr_t)_text_end) {
        return PRESENT;
    }
    if (page >= (uintptr_t)_text_end && page < (uintptr_t)_rodata_end) {
        return PRESENT | nx;
    }
    if (page >= (uintptr_t)_exec_start && page < (uintptr_t)_exec_end) {
        return PRESENT | WRITE;
    }
    return PRESENT | WRITE | nx;
}

void mmu_init(void) {
    uint32_t r[4];
    cpuid(0x80000001, 0, r);
    if (r[3] & 1u << 20) {
        nx = 1ULL << 63;
        __asm__ volatile ("rdmsr; or $0x800, %%eax; wrmsr" : : "c" (0xc0000080) : "eax", "edx");
    }
    cpuid(0x80000008, 0, r);
    address_bits = r[0] & 0xff;
    for (unsigned i = 0; i < 4 * 512; i++) {
        uint64_t flags = rights(i * 4096ULL);
        low[i] = flags ? i * 4096ULL | flags : 0;
    }
    for (unsigned i = 0; i < 4 * 512; i++) {
        pd[i] = i < 4 ? (uintptr_t)&low[i * 512] | PRESENT | WRITE : pd[i] | nx;
    }
    __asm__ volatile ("mov %0, %%cr3" : : "r" (pml4) : "memory");
}

// The table below `entry`, made if it is not there yet; NULL when none is left.
static uint64_t *table(uint64_t *entry) {
    if (!(*entry & PRESENT)) {
        if (extra_used == EXTRA_TABLES) {
            return NULL;
        }
        *entry = (uintptr_t)extra[extra_used++] | PRESENT | WRITE;
    }
    return (uint64_t *)(uintptr_t)(*entry & 0x000ffffffffff000ULL);
}

bool mmu_map_device(uint64_t addr) {
    if (addr >> 32 == 0 || addr >> address_bits != 0) {
        return false;
    }
    uint64_t *pdpt = table(&pml4[addr >> 39 & 511]);
    uint64_t *dir = pdpt ? table(&pdpt[addr >> 30 & 511]) : NULL;
    if (dir == NULL || dir[addr >> 21 & 511] & PRESENT) {
        return false;
    }
    dir[addr >> 21 & 511] = (addr & ~0x1fffffULL) | LARGE | UNCACHED | PRESENT | WRITE | nx;
    return true;
}
