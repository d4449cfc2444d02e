// Finds a frozen module by its name, instead of py/frozenmod.c: that walks all names at each of
// the four looks that an import takes, which was a third of a boot.

#include <stdlib.h>
#include <string.h>
#include "py/emitglue.h"
#include "py/frozenmod.h"

extern const char mp_frozen_names[];
extern const mp_frozen_module_t *const mp_frozen_mpy_content[];

typedef struct {
    const char *name;
    const mp_frozen_module_t *content;
} entry_t;

static entry_t entries[1024];       // in the order of their names
static size_t count;

static int by_name(const void *a, const void *b) {
    return strcmp(((const entry_t *)a)->name, ((const entry_t *)b)->name);
}

// An entry whose name is `str` and then `next`: 0, or the slash behind a folder's name.
static entry_t *find(const char *str, size_t len, char next) {
    for (size_t low = 0, high = count; low < high;) {
        size_t i = (low + high) / 2;
        int d = strncmp(entries[i].name, str, len);
        d = d ? d : entries[i].name[len] - next;
        if (d == 0) {
            return &entries[i];
        }
        low = d < 0 ? i + 1 : low;
        high = d < 0 ? high : i;
    }
    return NULL;
}

mp_import_stat_t mp_find_frozen_module(const char *str, int *type, void **data) {
    if (count == 0) {
        for (const char *p = mp_frozen_names; *p && count < MP_ARRAY_SIZE(entries); p += strlen(p) + 1) {
            entries[count] = (entry_t) { p, mp_frozen_mpy_content[count] };
            count++;
        }
        qsort(entries, count, sizeof(entry_t), by_name);
    }
    size_t len = strlen(str);
    entry_t *e = find(str, len, 0);
    if (type != NULL) {
        *type = e ? MP_FROZEN_MPY : MP_FROZEN_NONE;
        *data = e ? (void *)e->content : NULL;
    }
    return e ? MP_IMPORT_STAT_FILE : find(str, len, '/') ? MP_IMPORT_STAT_DIR : MP_IMPORT_STAT_NO_EXIST;
}
