// What of MicroPython is in the image.
#include <alloca.h>
#include <stddef.h>
#include <stdint.h>

#define MICROPY_CONFIG_ROM_LEVEL (MICROPY_CONFIG_ROM_LEVEL_EXTRA_FEATURES)

// Machine code
#define MICROPY_EMIT_X64 (1)
#define MICROPY_PERSISTENT_CODE_LOAD (1)
void exec_alloc(size_t n, void **ptr, size_t *size);
#define MP_PLAT_ALLOC_EXEC(min_size, ptr, size) exec_alloc(min_size, ptr, size)
#define MP_PLAT_FREE_EXEC(ptr, size)

// Memory. Frames of Python functions live on a stack of their own, because those with more
// than 11 words would else be allocated on the heap at each call.
#define MICROPY_ENABLE_GC (1)
#define MICROPY_ENABLE_PYSTACK (1)
#define MICROPY_STACK_CHECK_MARGIN (16 * 1024)
// A collection that finds more pointers in one object than this looks at the whole heap again.
#define MICROPY_ALLOC_GC_STACK_SIZE (8192)
#define MICROPY_ENABLE_EMERGENCY_EXCEPTION_BUF (1)
#define MICROPY_ALLOC_PATH_MAX (256)

// Speed
#define MICROPY_OPT_COMPUTED_GOTO (1)
#define MICROPY_OPT_MAP_LOOKUP_CACHE_SIZE (16384)

// Language and REPL
#define MICROPY_LONGINT_IMPL (MICROPY_LONGINT_IMPL_MPZ)
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_DOUBLE)
#define MICROPY_ERROR_REPORTING (MICROPY_ERROR_REPORTING_DETAILED)
#define MICROPY_WARNINGS (1)
#define MICROPY_PY_FUNCTION_ATTRS_CODE (1)
#define MICROPY_REPL_EMACS_WORDS_MOVE (1)
#define MICROPY_REPL_EMACS_EXTRA_WORDS_MOVE (1)
#define MICROPY_READLINE_HISTORY_SIZE (50)
#define MICROPY_REPL_STDIN_BUFFER_MAX (4096)
#define MICROPY_USE_INTERNAL_ERRNO (1)
#define MICROPY_SCHEDULER_STATIC_NODES (1)
#define MICROPY_SCHEDULER_DEPTH (16)

// Modules
#define MICROPY_PY_SYS_PLATFORM "barewire"
#define MICROPY_PY_SYS_ATEXIT (1)
#define MICROPY_PY_SYS_EXC_INFO (1)
#define MICROPY_PY_GC_COLLECT_RETVAL (1)
#define MICROPY_PY_MICROPYTHON_HEAP_LOCKED (1)
#define MICROPY_PY_COLLECTIONS_NAMEDTUPLE__ASDICT (1)
#define MICROPY_EPOCH_IS_1970 (1)
#define MICROPY_PY_TIME_GMTIME_LOCALTIME_MKTIME (1)
#define MICROPY_PY_TIME_TIME_TIME_NS (1)
#define MICROPY_PY_TIME_INCLUDEFILE "port_time.h"
#define MICROPY_PY_OS_UNAME (1)
#define MICROPY_PY_OS_DUPTERM (1)
#define MICROPY_PY_OS_SYNC (1)
#define MICROPY_PY_RE_MATCH_GROUPS (1)
#define MICROPY_PY_RE_MATCH_SPAN_START_END (1)
#define MICROPY_PY_DEFLATE_COMPRESS (1)
#define MICROPY_PY_WEBSOCKET (1)
#define MICROPY_PY_WEBREPL (1)
uint32_t hal_seed(void);
#define MICROPY_PY_RANDOM_SEED_INIT_FUNC (hal_seed())
#define MICROPY_PY_SELECT (0)           // images/lib/select.py drives the stack
#define MICROPY_PY_MACHINE_MEMX (1)     // hw.mem8, mem16, mem32; the rest is images/lib/machine.py
#define MICROPY_VFS (1)
#define MICROPY_READER_VFS (1)
#define MICROPY_VFS_ROM (1)
#define MICROPY_VFS_ROM_IOCTL (0)
#define MICROPY_FATFS_ENABLE_LFN (2)
#define MICROPY_FATFS_LFN_CODE_PAGE 437
#define MICROPY_FATFS_RPATH (2)

#define MICROPY_HW_BOARD_NAME "QEMU"
#define MICROPY_HW_MCU_NAME "x86-64"

typedef intptr_t mp_int_t;
typedef uintptr_t mp_uint_t;
typedef intptr_t mp_off_t;
#define MP_SSIZE_MAX INTPTR_MAX
// Dictionaries that a boot need not grow step by step.
#define MICROPY_MODULE_DICT_SIZE (23)
#define MICROPY_LOADED_MODULES_DICT_SIZE (127)

#define MP_STATE_PORT MP_STATE_VM
#define mp_builtin___import__ import_module     // frozen.c
