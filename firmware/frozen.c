// Finds a frozen module by its name, instead of py/frozenmod.c: that walks all names at each of
// the four looks that an import takes, which was a third of a boot. And a module that is loaded
// by its whole name, where py/builtinimport.c makes a string of each of its folders: a fifth.

#include <stdlib.h>
#include <string.h>
#include "py/builtin.h"
#include "py/emitglue.h"
#include "py/frozenmod.h"
#include "py/objmodule.h"
#include "py/runtime.h"

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

// args: the name, globals, locals, the names that are wanted of it, the level of a relative import.
mp_obj_t import_module(size_t n, const mp_obj_t *args) {
    bool leaf = n == 5 && args[3] != mp_const_none && args[4] == MP_OBJ_NEW_SMALL_INT(0);
    if (leaf && mp_obj_is_qstr(args[0]) && mp_obj_len(mp_sys_path) != MP_OBJ_NEW_SMALL_INT(0)) {
        mp_map_t *loaded = &MP_STATE_VM(mp_loaded_modules_dict).map;
        mp_map_elem_t *e = mp_map_lookup(loaded, args[0], MP_MAP_LOOKUP);
        mp_obj_t found = e ? e->value : mp_module_get_builtin(MP_OBJ_QSTR_VALUE(args[0]), false);
        if (found != MP_OBJ_NULL) {
            return found;
        }
    }
    return mp_builtin___import___default(n, args);
}
