// What MicroPython's module `os` includes from a port.
#include "py/mphal.h"
#include "py/runtime.h"

static mp_obj_t mp_os_urandom(mp_obj_t n_in) {
    vstr_t v;
    vstr_init_len(&v, mp_obj_get_int(n_in));
    for (size_t i = 0; i < v.len; i++) {
        v.buf[i] = hal_seed();
    }
    return mp_obj_new_bytes_from_vstr(&v);
}
static MP_DEFINE_CONST_FUN_OBJ_1(mp_os_urandom_obj, mp_os_urandom);
