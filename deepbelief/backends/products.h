/* Products of float32 matrices, one of which has the rows of a minibatch.

A BLAS is optimised for large square matrices: with a hundred rows it copies all weights into its own order for each
product, and divides them among threads in a different way each time. Here tiles of a few rows and two vectors of
columns stay in registers during a pass over both factors. The minibatch, whose values are broadcast, is read in place;
the weights are copied into panels as broad as a tile, transposed if need be.

Weights should stay with the processor that writes them: before it writes again, it has to call back what others have
read. A step therefore divides the weights by rows, and `h W'` its result by columns, which are the same; `v W` has two
sums, with the upper and with the lower half of W. A thread computes each of them in order, so that results do not depend
on the number of threads. */

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)

#include <stdatomic.h>

#define HAS_PRODUCTS
#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define HAS_AVX512 \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))

/* Return the bytes of a vector of these products on this processor; 0 if it does not support them. */
static int64_t multiplies(void) { return HAS_AVX512 ? 64 : HAS_AVX2 ? 32 : 0; }

typedef struct {
    const float *a, *b;
    float *out, *panels, *left, *velocity;
    int64_t m, k, n, turned; /* whether b is stored by columns */
    int64_t n_tall;          /* tall tiles of each panel, followed by low ones */
    float rate, momentum, decay, nesterov;
    float *lower;          /* sums of the lower half of b */
    _Atomic int *complete; /* how many halves of each panel are complete; 0: b is not divided */
} Factors;

/* Where sums are written, and partial sums that are added to them, if any: of rows of b before, and of its other half. */
typedef struct {
    float *out;
    const float *before, *other;
} TileSums;

/* A sum over rows `from` to `to` of b, in some columns; where it is written, and the sum over b's other rows that is added
   to it, if that is complete. */
typedef struct {
    int64_t panel, from, to;
    float *own;
    const float *other;
} Half;

/* Return the sum that unit of work `unit` computes, of n panels: those over the upper half of b come first, and then those
   over its lower half in another order, so that most of them find the other one complete. */
INLINE Half half_of(int64_t unit, int64_t n, int64_t rows, float *out, float *lower, _Atomic int *complete) {
    if (!complete) return (Half){unit, 0, rows, out, 0};
    const int is_lower = unit >= n;
    const int64_t panel = is_lower ? (unit + n / 2) % n : unit;
    const float *other = atomic_load_explicit(complete + panel, memory_order_acquire) ? is_lower ? out : lower : 0;
    return (Half){panel, is_lower ? rows / 2 : 0, is_lower ? rows : rows / 2, is_lower ? lower : out, other};
}

/* Say that a sum is complete, and return whether the other one is too, but has not been added. */
INLINE int must_add(const Half *h, _Atomic int *complete) {
    return complete && !h->other && atomic_fetch_add_explicit(complete + h->panel, 1, memory_order_acq_rel);
}

#define AHEAD 8   /* rows of a panel between the one that is multiplied and the one that is fetched */
#define DEEP 1024 /* part of the inner dimension of a panel, which then fits in the L2 cache */
#define LOW 64    /* rows of a half of b: with fewer it is not divided */
#define MOST_PANELS 1024 /* in a product whose b is divided */

/* Add four rows of a panel, times rows of six values, to the sums of a tile; s are its vectors. The sums, two vectors and
   a factor need all 16 registers: compilers move sums between them, or to memory. */
#define TIMES(at, left, right)                                                                                         \
    "vbroadcastss 4*" #at "(%[a]), %%ymm15\n\t"                                                                        \
    "vfmadd231ps %%ymm13, %%ymm15, %" #left "\n\t"                                                                     \
    "vfmadd231ps %%ymm14, %%ymm15, %" #right "\n\t"
#define ADD_ROW(k)                                                                                                     \
    "vmovaps 64*" #k "(%[b]), %%ymm13\n\t"                                                                             \
    "vmovaps 64*" #k "+32(%[b]), %%ymm14\n\t"                                                                          \
    TIMES((6*k), 0, 1) TIMES((6*k+1), 2, 3) TIMES((6*k+2), 4, 5) TIMES((6*k+3), 6, 7) TIMES((6*k+4), 8, 9)             \
    TIMES((6*k+5), 10, 11)
#define ADD_FOUR(s, values, panel)                                                                                     \
    __asm__(ADD_ROW(0) ADD_ROW(1) ADD_ROW(2) ADD_ROW(3)                                                                \
            : "+x"(s[0][0]), "+x"(s[0][1]), "+x"(s[1][0]), "+x"(s[1][1]), "+x"(s[2][0]), "+x"(s[2][1]),                \
              "+x"(s[3][0]), "+x"(s[3][1]), "+x"(s[4][0]), "+x"(s[4][1]), "+x"(s[5][0]), "+x"(s[5][1])                 \
            : [a] "r"(values), [b] "r"(panel)                                                                          \
            : "xmm13", "xmm14", "xmm15", "memory")

#define NAMED(name) name##_256
#define TILED static __attribute__((target("avx2,fma")))
#define TALL 6 /* 12 sums, 2 vectors of a panel and a factor in 16 registers */
#define SHORT 4 /* divides powers of two */
#define SLOWER 12 /* 8 sums just hide how long an addition takes */
#define PANELS 65536 /* half of a small L2 cache */
#define WIDTH 32
#include "tiles.h"
#undef ADD_FOUR

#define NAMED(name) name##_512
#define TILED static __attribute__((target("avx512f,avx512vl,avx512dq,fma,prfchw")))
#define TALL 10 /* 20 sums in 32 registers; divides a hundred rows */
#define SHORT 8
#define SLOWER 3
#define PANELS 131072
#define WIDTH 64
#include "tiles.h"

/* Write the product of a, m x k, and b, k x n. `room` is as large as the product. */
static void multiply(const float *a, const float *b, float *out, float *room, int64_t m, int64_t k, int64_t n) {
    const Factors job = {a, b, out, 0, 0, 0, m, k, n, 0, 0, 0, 0, 0, 0, room, 0};
    (HAS_AVX512 ? multiply_512 : multiply_256)(job);
}

/* Write the product of a, m x k, and the transposed b, n x k. */
static void multiply_by_transposed(const float *a, const float *b, float *out, int64_t m, int64_t k, int64_t n) {
    const Factors job = {a, b, out, 0, 0, 0, m, k, n, 1, 0, 0, 0, 0, 0, 0, 0};
    (HAS_AVX512 ? multiply_512 : multiply_256)(job);
}

/* Take a step downhill of the weights w, m x n, along the product of the transposed a, k x m, and b, k x n.
   The panels are as long as n rounded up to 32, times k, and aligned to vectors, and `left` as m rounded up to
   10, times k. */
static void step_by_tiles(const float *a, const float *b, float *w, float *velocity, float *panels, float *left,
                          float rate, float momentum, float decay, float nesterov, int64_t m, int64_t k, int64_t n) {
    const Factors job = {a, b, w, panels, left, velocity, m, k, n, 0, 0, rate, momentum, decay, nesterov,
                         0, 0};
    (HAS_AVX512 ? step_along_512 : step_along_256)(job);
}

#endif
