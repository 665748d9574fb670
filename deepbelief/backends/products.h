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

#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define HAS_AVX512 \
    (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))

/* Return the bytes of a vector of these products on this processor; 0 if it does not support them. */
EXPORT int64_t multiplies(void) { return HAS_AVX512 ? 64 : HAS_AVX2 ? 32 : 0; }

typedef struct {
    const float *a, *b;
    float *out, *panels, *left, *velocity;
    int64_t m, k, n, turned; /* whether b is stored by columns */
    float rate, momentum, decay, nesterov;
    float *lower;          /* sums of the lower half of b */
    _Atomic int *complete; /* how many halves of each panel are complete; 0: b is not divided */
} Factors;

/* Where sums are written, and partial sums that are added to them, if any: of rows of b before, and of its other half. */
typedef struct {
    float *out;
    const float *before, *other;
} TileSums;

#define AHEAD 8   /* rows of a panel between the one that is multiplied and the one that is fetched */
#define DEEP 1024 /* part of the inner dimension of a panel, which then fits in the L2 cache */
#define LOW 64    /* rows of a half of b: with fewer it is not divided */
#define MOST_PANELS 1024 /* in a product whose b is divided */

#define NAMED(name) name##_256
#define TILED static __attribute__((target("avx2,fma")))
#define TALL 6 /* 12 sums, 2 vectors of a panel and a factor in 16 registers */
#define SHORT 4 /* divides powers of two */
#define PANELS 65536 /* half of a small L2 cache */
#define WIDTH 32
#include "tiles.h"

#define NAMED(name) name##_512
#define TILED static __attribute__((target("avx512f,avx512vl,avx512dq,fma,prfchw")))
#define TALL 10 /* 20 sums in 32 registers; divides a hundred rows */
#define SHORT 8
#define PANELS 131072
#define WIDTH 64
#include "tiles.h"

/* Write the product of a, m x k, and b, k x n. `room` is as large as the product. */
EXPORT void multiply(const float *a, const float *b, float *out, float *room, int64_t m, int64_t k, int64_t n) {
    const Factors job = {a, b, out, 0, 0, 0, m, k, n, 0, 0, 0, 0, 0, room, 0};
    (HAS_AVX512 ? multiply_512 : multiply_256)(job);
}

/* Write the product of a, m x k, and the transposed b, n x k. */
EXPORT void multiply_by_transposed(const float *a, const float *b, float *out, int64_t m, int64_t k, int64_t n) {
    const Factors job = {a, b, out, 0, 0, 0, m, k, n, 1, 0, 0, 0, 0, 0, 0};
    (HAS_AVX512 ? multiply_512 : multiply_256)(job);
}

/* Take a step downhill of the weights w, m x n, along the product of the transposed a, k x m, and b, k x n.
   The panels are as long as n rounded up to 32, times k, and aligned to vectors, and `left` as m rounded up to
   10, times k. */
EXPORT void step_by_tiles(const float *a, const float *b, float *w, float *velocity, float *panels, float *left,
                          float rate, float momentum, float decay, float nesterov, int64_t m, int64_t k, int64_t n) {
    const Factors job = {a, b, w, panels, left, velocity, m, k, n, 0, rate, momentum, decay, nesterov,
                         0, 0};
    (HAS_AVX512 ? step_along_512 : step_along_256)(job);
}

#endif
