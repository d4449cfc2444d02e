// memcpy, memmove, memset and memcmp in 64-bit steps, which is what QEMU's TCG runs best
// (musl's `rep movs` and byte loops cost several times as much). memmove returns
// at once when there is nothing to move: MicroPython's slice assignment of equal length
// moves the whole tail onto itself.

#include <stddef.h>
#include <stdint.h>

typedef uint64_t __attribute__((may_alias, aligned(1))) u64;
typedef uint32_t __attribute__((may_alias, aligned(1))) u32;

// From the first byte on, so right also where dst lies below src and overlaps it. The last
// bytes are read before anything is written.
static inline void *forward(void *dst, const void *src, size_t n) {
    char *d = dst;
    const char *s = src;
    if (n >= 8) {
        char *d_last = d + n - 8;
        u64 last = *(u64 *)(s + n - 8);
        for (; n >= 64; n -= 64, s += 64, d += 64) {
            const u64 *f = (const u64 *)s;
            u64 *t = (u64 *)d;
            u64 a = f[0], b = f[1], c = f[2], e = f[3];
            t[0] = a, t[1] = b, t[2] = c, t[3] = e;
            a = f[4], b = f[5], c = f[6], e = f[7];
            t[4] = a, t[5] = b, t[6] = c, t[7] = e;
        }
        for (; n >= 8; n -= 8, s += 8, d += 8) {
            *(u64 *)d = *(const u64 *)s;
        }
        *(u64 *)d_last = last;
    } else if (n >= 4) {
        u32 a = *(u32 *)s, b = *(u32 *)(s + n - 4);
        *(u32 *)d = a, *(u32 *)(d + n - 4) = b;
    } else {
        while (n--) {
            *d++ = *s++;
        }
    }
    return dst;
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n) {
    return forward(dst, src, n);
}

void *memmove(void *dst, const void *src, size_t n) {
    char *d = dst;
    const char *s = src;
    if (d == s) {
        return dst;
    }
    if ((size_t)(d - s) >= n) {
        return forward(dst, src, n);
    }
    for (; n >= 8; n -= 8) {
        *(u64 *)(d + n - 8) = *(const u64 *)(s + n - 8);
    }
    while (n--) {
        d[n] = s[n];
    }
    return dst;
}

void *memset(void *dst, int c, size_t n) {
    char *d = dst;
    u64 v = (uint8_t)c * 0x0101010101010101ULL;
    if (n >= 8) {
        *(u64 *)(d + n - 8) = v;
        for (; n >= 32; n -= 32, d += 32) {
            u64 *t = (u64 *)d;
            t[0] = v, t[1] = v, t[2] = v, t[3] = v;
        }
        for (; n >= 8; n -= 8, d += 8) {
            *(u64 *)d = v;
        }
        return dst;
    }
    while (n--) {
        *d++ = c;
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n) {
    const uint8_t *p = a, *q = b;
    for (; n >= 8 && *(const u64 *)p == *(const u64 *)q; n -= 8) {
        p += 8, q += 8;
    }
    for (; n--; p++, q++) {
        if (*p != *q) {
            return *p - *q;
        }
    }
    return 0;
}
