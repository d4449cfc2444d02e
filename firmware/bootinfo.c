// What the loader hands over: RAM, command line and initrd, from PVH's start_info
// or multiboot2's tags, copied before anything else is written to memory.

#include <string.h>

#include "barewire.h"

#define PVH_MAGIC 0x336ec578
#define MB2_MAGIC 0x36d76289
#define RAM_TYPE 1

typedef struct {
    uint32_t magic, version, flags, nr_modules;
    uint64_t modlist, cmdline, rsdp, memmap;
    uint32_t memmap_entries, reserved;
} pvh_info_t;
typedef struct {
    uint64_t addr, size, cmdline, reserved;
} pvh_module_t;
typedef struct {
    uint64_t addr, size;
    uint32_t type, reserved;
} range_t;                      // the same in PVH and multiboot2
typedef struct {
    uint32_t type, size;
} mb2_tag_t;

bootinfo_t bootinfo;
static uint64_t ram_start, ram_end;     // the largest range below 4 GB, behind this image if it is in it

static void add_range(const range_t *r) {
    if (r->type != RAM_TYPE) {
        return;
    }
    bootinfo.ram += r->size;
    uint64_t start = r->addr, end = r->addr + r->size < 1ULL << 32 ? r->addr + r->size : 1ULL << 32;
    if (start < (uintptr_t)_end && (uintptr_t)_text_start < end) {
        start = (uintptr_t)_end;
    }
    if (start < end && end - start > ram_end - ram_start) {
        ram_start = start;
        ram_end = end;
    }
}

static void add_module(uint64_t addr, uint64_t size) {
    if (bootinfo.initrd == NULL && size != 0) {
        bootinfo.initrd = (uint8_t *)addr;
        bootinfo.initrd_len = size;
    }
}

static void set_cmdline(const char *s) {
    strncpy(bootinfo.cmdline, s, sizeof(bootinfo.cmdline) - 1);
}

static void from_pvh(const pvh_info_t *info) {
    const range_t *map = (const range_t *)info->memmap;
    for (uint32_t i = 0; info->version >= 1 && i < info->memmap_entries; i++) {
        add_range(&map[i]);
    }
    const pvh_module_t *mod = (const pvh_module_t *)info->modlist;
    for (uint32_t i = 0; i < info->nr_modules; i++) {
        add_module(mod[i].addr, mod[i].size);
    }
    if (info->cmdline) {
        set_cmdline((const char *)info->cmdline);
    }
}

static void from_multiboot2(const uint32_t *info) {
    const char *p = (const char *)(info + 2);
    const char *end = (const char *)info + info[0];
    for (const mb2_tag_t *t; p < end && (t = (const mb2_tag_t *)p)->type != 0; p += (t->size + 7) & ~7u) {
        const uint32_t *body = (const uint32_t *)(t + 1);
        if (t->type == 1) {
            set_cmdline((const char *)body);
        } else if (t->type == 3) {
            add_module(body[0], body[1] - body[0]);
        } else if (t->type == 6) {
            for (const char *e = p + 16; e < p + t->size; e += body[0]) {
                add_range((const range_t *)e);
            }
        }
    }
}

void bootinfo_init(void) {
    const void *info = (const void *)(uintptr_t)boot_info;
    if (boot_magic == MB2_MAGIC) {
        from_multiboot2(info);
    } else if (*(const uint32_t *)info == PVH_MAGIC) {
        from_pvh(info);
    }
    uint64_t start = (ram_start + 4095) & ~4095ULL, end = ram_end;
    uint64_t rd = (uintptr_t)bootinfo.initrd, rd_end = rd + bootinfo.initrd_len;
    if (rd_end > start && rd < end) {
        // The initrd lies in it: keep the larger side.
        if (rd > start && rd - start >= end - rd_end) {
            end = rd;
        } else {
            start = (rd_end + 4095) & ~4095ULL;
        }
    }
    bootinfo.free = (uint8_t *)start;
    bootinfo.free_end = (uint8_t *)(end & ~4095ULL);
}
