/* Products of float32 matrices, one of which has the rows of a minibatch.

A BLAS is optimised for large square matrices: with a hundred rows it copies all weights into its own order for each
product, and divides them among threads in a different way each time. Here tiles of TALL x BROAD values stay in
registers during a pass over both factors. The factor whose values are broadcast is read in place; the other one is
first copied into panels of BROAD columns. One thread sums a tile over the whole inner dimension in order: results do
not depend on the number of threads.

Used on processors with AVX2 and without AVX-512, where it was measured. */

#if defined(__GNUC__) && !defined(__clang__)

/* Return whether these products support this processor. */
EXPORT int64_t multiplies(void) {
#if defined(__x86_64__) && defined(__GLIBC__)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && !__builtin_cpu_supports("avx512f");
#else
    return 0;
#endif
}

typedef float Vector __attribute__((vector_size(32), may_alias));
typedef float Unaligned __attribute__((vector_size(32), aligned(4), may_alias));

#define TALL 6
#define BROAD 16
#define DEEP 256 /* part of the inner dimension: a panel of this depth fits in the L1 cache */

/* Compute a tile: these rows, whose values are `step` apart, times a panel. */
INLINE void multiply_tile(const float *const rows[TALL], int64_t step, const float *restrict panel, int64_t depth,
                          Vector tile[TALL][2]) {
    Vector sum[TALL][2];
    for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (Vector){0};
    for (int64_t k = 0; k < depth; k++) {
        const Vector left = *(const Vector *)(panel + k * BROAD), right = *(const Vector *)(panel + k * BROAD + 8);
#pragma GCC unroll 6
        for (int i = 0; i < TALL; i++) {
            const float x = rows[i][k * step];
            const Vector factor = {x, x, x, x, x, x, x, x};
            sum[i][0] += factor * left;
            sum[i][1] += factor * right;
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < TALL; i++) {
        tile[i][0] = sum[i][0];
        tile[i][1] = sum[i][1];
    }
}

/* Find the starts of TALL rows from `first` on; the last row replaces rows beyond the end. */
INLINE void find_rows(const float *x, int64_t first, int64_t n, int64_t width, const float *rows[TALL]) {
    for (int i = 0; i < TALL; i++) rows[i] = x + (first + i < n ? first + i : n - 1) * width;
}

/* Copy columns of x from `first` on into a panel; 0 beyond the last column. */
INLINE void copy_columns(const float *restrict x, int64_t depth, int64_t width, int64_t first, float *restrict panel) {
    const int64_t n = width - first < BROAD ? width - first : BROAD;
    for (int64_t k = 0; k < depth; k++, panel += BROAD) {
        const float *restrict row = x + k * width + first;
        if (n >= BROAD) {
            for (int j = 0; j < BROAD; j++) panel[j] = row[j];
        } else {
            for (int64_t j = 0; j < BROAD; j++) panel[j] = j < n ? row[j] : 0.0f;
        }
    }
}

typedef struct {
    const float *a, *b;
    float *out, *panels, *velocity;
    int64_t m, k, n;
    float rate, momentum, decay, nesterov;
} Factors;

/* Write a tile, or add it to a partial sum. */
INLINE void write_tile(const Vector tile[TALL][2], float *out, int64_t width, int64_t tall, int64_t wide, int adds) {
    if (wide < BROAD) {
        float values[TALL][BROAD];
        memcpy(values, tile, sizeof values);
        for (int64_t i = 0; i < tall; i++, out += width)
            for (int64_t j = 0; j < wide; j++) out[j] = adds ? out[j] + values[i][j] : values[i][j];
        return;
    }
#pragma GCC unroll 6
    for (int i = 0; i < TALL; i++, out += width) {
        if (i >= tall) break;
        Unaligned *to = (Unaligned *)out;
        for (int side = 0; side < 2; side++) {
            Vector sum = tile[i][side];
            if (adds) sum += to[side];
            to[side] = sum;
        }
    }
}

#define TOGETHER 4 /* panels whose columns are copied together: whole cache lines */

/* Compute panels `first` to `last` of the columns of out = a b. */
LOOP void multiply_panels(const Factors *f, int64_t first, int64_t last) {
    float panels[TOGETHER][DEEP * BROAD] __attribute__((aligned(64)));
    for (int64_t p = first; p < last; p += TOGETHER)
        for (int64_t top = 0; top < f->k; top += DEEP) {
            const int64_t depth = f->k - top < DEEP ? f->k - top : DEEP;
            const int64_t n = last - p < TOGETHER ? last - p : TOGETHER;
            for (int64_t k = 0; k < depth; k++) {
                const float *row = f->b + (top + k) * f->n + p * BROAD;
                for (int64_t s = 0; s < n; s++) {
                    __builtin_prefetch(row + 8 * f->n + s * BROAD);
                    copy_columns(f->b + (top + k) * f->n, 1, f->n, (p + s) * BROAD, panels[s] + k * BROAD);
                }
            }
            for (int64_t s = 0; s < n; s++) {
                const int64_t column = (p + s) * BROAD, wide = f->n - column < BROAD ? f->n - column : BROAD;
                for (int64_t i = 0; i < f->m; i += TALL) {
                    const float *rows[TALL];
                    Vector tile[TALL][2];
                    find_rows(f->a + top, i, f->m, f->k, rows);
                    multiply_tile(rows, 1, panels[s], depth, tile);
                    const int64_t tall = f->m - i < TALL ? f->m - i : TALL;
                    write_tile(tile, f->out + i * f->n + column, f->n, tall, wide, top > 0);
                }
            }
        }
}

static void multiply_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    multiply_panels(job, a, b);
}

/* Write the product of a, m x k, and b, k x n. */
EXPORT void multiply(const float *a, const float *b, float *out, int64_t m, int64_t k, int64_t n) {
    Factors job = {a, b, out, 0, 0, m, k, n, 0, 0, 0, 0};
    share(multiply_part, &job, (n + BROAD - 1) / BROAD, 1, FEW_PRODUCTS / (m * k * BROAD + 1) + 1);
}

/* Copy rows of a into panels a to b, transposed; 0 beyond the last row. */
LOOP void turn_panels(const Factors *f, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++) {
        float *restrict panel = f->panels + p * BROAD * f->k;
        const float *restrict a = f->a + p * BROAD * f->k;
        const int64_t n = f->m - p * BROAD < BROAD ? f->m - p * BROAD : BROAD;
        for (int64_t k = 0; k < f->k; k++)
            for (int64_t j = 0; j < BROAD; j++) panel[k * BROAD + j] = j < n ? a[j * f->k + k] : 0.0f;
    }
}

static void turn_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    turn_panels(job, a, b);
}

/* Compute columns TALL a to TALL b of the product of a and the transposed b. */
LOOP void multiply_turned(const Factors *f, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++) {
        const int64_t column = p * TALL, tall = f->n - column < TALL ? f->n - column : TALL;
        const float *rows[TALL];
        find_rows(f->b, column, f->n, f->k, rows);
        for (int64_t i = 0; i < f->m; i += BROAD) {
            Vector tile[TALL][2];
            float values[TALL][BROAD];
            multiply_tile(rows, 1, f->panels + i * f->k, f->k, tile);
            memcpy(values, tile, sizeof values);
            const int64_t wide = f->m - i < BROAD ? f->m - i : BROAD;
            float *out = f->out + i * f->n + column;
            for (int64_t j = 0; j < wide; j++, out += f->n)
                for (int64_t r = 0; r < tall; r++) out[r] = values[r][j];
        }
    }
}

static void multiply_turned_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    multiply_turned(job, a, b);
}

/* Write the product of a, m x k, and the transposed b, n x k. The panels are as long as m rounded up to BROAD, times k,
   and aligned to vectors. */
EXPORT void multiply_by_turned(const float *a, const float *b, float *out, float *panels, int64_t m, int64_t k,
                               int64_t n) {
    Factors job = {a, b, out, panels, 0, m, k, n, 0, 0, 0, 0};
    share(turn_part, &job, (m + BROAD - 1) / BROAD, 1, FEW / (BROAD * k + 1) + 1);
    share(multiply_turned_part, &job, (n + TALL - 1) / TALL, 1, FEW_PRODUCTS / (m * k * TALL + 1) + 1);
}

/* Copy columns of b into panels a to b. */
LOOP void copy_panels(const Factors *f, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++)
        copy_columns(f->b, f->k, f->n, p * BROAD, f->panels + p * BROAD * f->k);
}

static void copy_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    copy_panels(job, a, b);
}

#define BLOCKS 4 /* blocks of TALL columns of the left factor that are multiplied by a panel together */
#define MOST_ROWS 512

#define STRIP 512 /* columns whose gradient is computed before the step along rows */

/* Take a step of rows TALL first to TALL last of the weights. */
LOOP void step_tiles(const Factors *f, int64_t first, int64_t last) {
    float left[BLOCKS][MOST_ROWS * TALL], grad[BLOCKS * TALL * STRIP] __attribute__((aligned(64)));
    for (int64_t p = first; p < last; p += BLOCKS) {
        const int64_t row = p * TALL, n = last - p < BLOCKS ? last - p : BLOCKS;
        const int64_t rest = f->m - row, tall = rest < n * TALL ? rest : n * TALL;
        for (int64_t k = 0; k < f->k; k++) {
            const float *restrict a = f->a + k * f->m + row;
            for (int64_t s = 0; s < n; s++)
                for (int i = 0; i < TALL; i++) left[s][k * TALL + i] = s * TALL + i < tall ? a[s * TALL + i] : 0.0f;
        }
        for (int64_t strip = 0; strip < f->n; strip += STRIP) {
            const int64_t wide = f->n - strip < STRIP ? f->n - strip : STRIP;
            for (int64_t j = 0; j < wide; j += BROAD)
                for (int64_t s = 0; s < n; s++) {
                    const float *rows[TALL];
                    for (int i = 0; i < TALL; i++) rows[i] = left[s] + i;
                    Vector tile[TALL][2];
                    multiply_tile(rows, TALL, f->panels + (strip + j) * f->k, f->k, tile);
                    write_tile(tile, grad + s * TALL * STRIP + j, STRIP, TALL, BROAD, 0);
                }
            for (int64_t i = 0; i < tall; i++) {
                const int64_t at = (row + i) * f->n + strip;
                momentum_values(f->out + at, f->velocity + at, grad + i * STRIP, f->rate, f->momentum, f->decay,
                                f->nesterov, wide);
            }
        }
    }
}

static void step_tiles_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    step_tiles(job, a, b);
}

/* Take a step downhill of the weights w, m x n, along the product of the transposed a, k x m, and b, k x n, for k of at
   most MOST_ROWS. The panels are as long as n rounded up to BROAD, times k, and aligned to vectors. */
EXPORT void step_along(const float *a, const float *b, float *w, float *velocity, float *panels, float rate,
                       float momentum, float decay, float nesterov, int64_t m, int64_t k, int64_t n) {
    Factors job = {a, b, w, panels, velocity, m, k, n, rate, momentum, decay, nesterov};
    share(copy_part, &job, (n + BROAD - 1) / BROAD, 1, FEW / (BROAD * k + 1) + 1);
    share(step_tiles_part, &job, (m + TALL - 1) / TALL, 1, FEW_PRODUCTS / (n * k * TALL + 1) + 1);
}

#endif
