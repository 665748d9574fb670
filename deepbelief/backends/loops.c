/* Element-wise operations of the NumPy backend, each in one pass over contiguous float32 arrays.

NumPy reads and writes an array once for each operation; here a value stays in a register from the product's result to
the drawn state. numpy_backend.py defines each function in NumPy and uses that definition where this file could not be
compiled. No Python API is used; binding.c makes a module of the functions.

A function defined by `LOOP` works on a range; the function that binding.c exports divides the work among threads.
Ranges start at multiples of the vector width, so that the division of work does not change how a value is computed. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(_MSC_VER)
#define INLINE static __forceinline
#define restrict __restrict
#else
#define INLINE static inline __attribute__((always_inline))
#endif

/* One version for each vector width; the loader selects the widest that the processor supports. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(ONE_VERSION)
#if __GNUC__ >= 12
#define LOOP static __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define LOOP static __attribute__((target_clones("avx512f", "avx2", "default")))
#endif
#else
#define LOOP static
#endif

#include "crew.h"

#define PIECE_ROWS 4       /* rows of a piece of work */
#define PIECE_VALUES 8192  /* values of a piece of a long array */
#define VECTORS 1024       /* values of a long array taken together: a multiple of every vector width */
#define COLUMNS 64         /* the same, where columns are summed */
#define FEW 32768          /* values below which one thread is as fast */
#define FEW_COMPUTED 12288 /* the same, where each value needs an exponential or more */
#define FEW_PRODUCTS 262144 /* multiplications below which one thread is as fast */

/* Work on rows of a given width. */
INLINE void share_rows(Part *part, void *job, int64_t rows, int64_t width, int64_t few) {
    share_in_pieces(part, job, rows, PIECE_ROWS, few / (width + 1) + 1);
}

#define TOP 88.02969f /* exp of it is 2**127 */

/* Minimax polynomial of exp on [-ln(2) / 2, ln(2) / 2], relative error 2e-9. */
INLINE float exponential_of_rest(float r) {
    float p = 0.0013836795f;
    p = p * r + 0.0083748568f;
    p = p * r + 0.041668229f;
    p = p * r + 0.16666420f;
    p = p * r + 0.49999991f;
    p = p * r + 1.0f;
    return p * r + 1.0f;
}

/* exp(x) for |x| <= TOP. */
INLINE float exponential32(float x) {
    const float shift = 12582912.0f; /* 1.5 * 2**23: adding it rounds to a whole number */
    const float n = (x * 1.44269504f + shift) - shift;
    /* ln(2) in two parts, the first with so few bits that n times it is exact. */
    float r = x - n * 0.693359375f;
    r = r - n * -2.12194440e-4f;
    const float p = exponential_of_rest(r);
    const int32_t bits = (int32_t)((uint32_t)((int32_t)n + 127) << 23);
    float power; /* 2**n */
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

/* 1 / (1 + exp(-z)): 0 where exp(-z) exceeds 2**127; NaN for NaN. */
INLINE float logistic(float z) {
    float x = z > TOP ? -TOP : -z;
    x = z < -TOP ? TOP : x;
    const float y = 1.0f / (1.0f + exponential32(x));
    return z < -TOP ? 0.0f : y;
}

/* Replace each row of x by the logistic function of x + bias. */
LOOP void sigmoid_rows(float *restrict x, const float *restrict bias, int64_t rows, int64_t width) {
    for (int64_t r = 0; r < rows; r++, x += width)
        for (int64_t j = 0; j < width; j++) x[j] = logistic(x[j] + bias[j]);
}

typedef struct {
    float *x;
    const float *bias;
    int64_t width;
} Biased;

static void sigmoid_part(void *job, int64_t a, int64_t b, int slot) {
    const Biased *all = job;
    (void)slot;
    sigmoid_rows(all->x + a * all->width, all->bias, b - a, all->width);
}

static void sigmoid(float *x, const float *bias, int64_t rows, int64_t width) {
    Biased job = {x, bias, width};
    share_rows(sigmoid_part, &job, rows, width, FEW_COMPUTED);
}

#define LANES 4
#define PIECE 4096 /* values whose bits are drawn at a time: they fit in the L1 cache */

/* Advance four SFC64 generators (Doty-Humphrey) in parallel; a step yields one word of each. */
INLINE void draw(uint64_t state[4][LANES], uint64_t *restrict words, int64_t steps) {
    for (int64_t i = 0; i < steps; i++)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 1 /* unrolling would prevent the compiler from vectorising the loop */
#endif
        for (int l = 0; l < LANES; l++) {
            const uint64_t word = state[0][l] + state[1][l] + state[3][l];
            state[3][l] += 1;
            state[0][l] = state[1][l] ^ (state[1][l] >> 11);
            state[1][l] = state[2][l] + (state[2][l] << 3);
            state[2][l] = ((state[2][l] << 24) | (state[2][l] >> 40)) + word;
            words[i * LANES + l] = word;
        }
}

/* Advance the generators and discard the words. */
INLINE void skip(uint64_t state[4][LANES], int64_t steps) {
    uint64_t words[LANES];
    for (int64_t i = 0; i < steps; i++) draw(state, words, 1);
}

/* Draws made in pieces: piece u is piece u % per_block of block u / per_block. */
typedef struct {
    float *p, *out;
    const float *bias;
    int64_t size, width, block, per_block, pieces;
    uint64_t begin[4][LANES], end[4][LANES];
} Draws;

/* Position of a thread's copy of the generators. */
typedef struct {
    uint64_t state[4][LANES];
    float low; /* low bits of the block's draws */
    int64_t place;
} Stream;

/* Skip the draws before piece a, then draw pieces a to b. */
LOOP void sample_pieces(const Draws *all, Stream *stream, int64_t a, int64_t b) {
    uint64_t state[4][LANES], words[PIECE / 4];
    int16_t bits[PIECE];
    const float *restrict bias = all->bias;
    const int64_t width = all->width;
    float low = stream->low;
    memcpy(state, stream->state, sizeof state);
    for (int64_t u = stream->place; u < b; u++) {
        const int64_t begin = u / all->per_block * all->block, i = begin + u % all->per_block * PIECE;
        const int64_t end = begin + all->block < all->size ? begin + all->block : all->size;
        const int64_t n = end - i < PIECE ? end - i : PIECE, steps = (n + 4 * LANES - 1) / (4 * LANES);
        if (i == begin) {
            draw(state, words, 1);
            low = 32768.0f + (float)(words[0] >> 56) * (1.0f / 256.0f);
        }
        if (u < a) {
            skip(state, steps);
            continue;
        }
        draw(state, words, steps);
        memcpy(bits, words, (size_t)steps * LANES * sizeof *words);
        float *restrict p = all->p + i, *restrict out = all->out + i;
        if (!bias)
            for (int64_t j = 0; j < n; j++)
                out[j] = ((float)bits[j] + low) * (1.0f / 65536.0f) < p[j] ? 1.0f : 0.0f;
        for (int64_t done = 0, column = i % width; bias && done < n; column = 0) {
            const int64_t left = width - column < n - done ? width - column : n - done;
            float *restrict some = p + done, *restrict result = out + done;
            const float *restrict shift = bias + column;
            const int16_t *restrict bit = bits + done;
            for (int64_t j = 0; j < left; j++) {
                const float mean = logistic(some[j] + shift[j]);
                some[j] = mean;
                result[j] = ((float)bit[j] + low) * (1.0f / 65536.0f) < mean ? 1.0f : 0.0f;
            }
            done += left;
        }
    }
    memcpy(stream->state, state, sizeof state);
    stream->low = low;
    stream->place = b;
}

static void sample_part(void *job, int64_t a, int64_t b, int slot) {
    Draws *all = job;
    (void)slot;
    Stream stream = {.low = 0.0f, .place = 0};
    memcpy(stream.state, all->begin, sizeof stream.state);
    sample_pieces(all, &stream, a, b);
    if (stream.place == all->pieces) memcpy(all->end, stream.state, sizeof stream.state);
}

/* Replace p by the logistic function of p + bias, if there is a bias; then write 1 where a draw is below p, else 0. */
static void sample_all(float *p, const float *bias, uint64_t *const *lanes, float *out, int64_t size, int64_t width,
                       int64_t block) {
    if (size < 1) return;
    const int64_t per_block = (block + PIECE - 1) / PIECE, rest = size % block;
    Draws all = {p, out, bias, size, width, block, per_block,
                 size / block * per_block + (rest + PIECE - 1) / PIECE, {{0}}, {{0}}};
    for (int l = 0; l < LANES; l++)
        for (int k = 0; k < 4; k++) all.begin[k][l] = lanes[l][k];
    share(sample_part, &all, all.pieces, 1, FEW_COMPUTED / PIECE + 1);
    for (int l = 0; l < LANES; l++)
        for (int k = 0; k < 4; k++) lanes[l][k] = all.end[k][l];
}

/* Write 1 where a draw is below p, else 0. Each block of values first takes one step of the generators, whose highest 8
   bits become the lowest bits of all its draws, and then 16 bits for each value. The lanes are the states of NumPy's
   generators. */
static void sample(const float *p, uint64_t *const *lanes, float *out, int64_t size, int64_t block) {
    sample_all((float *)p, 0, lanes, out, size, 1, block);
}

/* Do the same with the logistic function of p + bias, which replaces p. */
static void sample_of_sigmoid(float *p, const float *bias, uint64_t *const *lanes, float *out, int64_t size, int64_t width,
                              int64_t block) {
    sample_all(p, bias, lanes, out, size, width, block);
}

/* exp(x) for x <= 0; 0 below -TOP. */
INLINE float falling(float x) { return x < -TOP ? 0.0f : exponential32(x < -TOP ? -TOP : x); }

#define SIDE 8 /* values of a group that are compared or added at once */

/* Replace each row of x by the softmax of x + bias within each group; `room` has the width of a row. */
LOOP void softmax_rows(float *restrict x, const float *restrict bias, const int64_t *restrict sizes,
                       float *restrict room, int64_t rows, int64_t groups, int64_t width) {
    for (int64_t r = 0; r < rows; r++, x += width) {
        for (int64_t j = 0; j < width; j++) x[j] += bias[j];
        for (int64_t g = 0, start = 0; g < groups; start += sizes[g++]) {
            const int64_t n = sizes[g];
            const float *restrict v = x + start;
            float top[SIDE];
            for (int k = 0; k < SIDE; k++) top[k] = v[0];
            int64_t j = 0;
            for (; j + SIDE <= n; j += SIDE)
                for (int k = 0; k < SIDE; k++) top[k] = v[j + k] > top[k] ? v[j + k] : top[k];
            for (; j < n; j++) top[0] = v[j] > top[0] ? v[j] : top[0];
            for (int k = 1; k < SIDE; k++) top[0] = top[k] > top[0] ? top[k] : top[0];
            for (j = 0; j < n; j++) room[start + j] = top[0];
        }
        for (int64_t j = 0; j < width; j++) x[j] = falling(x[j] - room[j]);
        for (int64_t g = 0, start = 0; g < groups; start += sizes[g++]) {
            const int64_t n = sizes[g];
            const float *restrict v = x + start;
            float sum[SIDE] = {0};
            int64_t j = 0;
            for (; j + SIDE <= n; j += SIDE)
                for (int k = 0; k < SIDE; k++) sum[k] += v[j + k];
            for (; j < n; j++) sum[0] += v[j];
            for (int k = 1; k < SIDE; k++) sum[0] += sum[k];
            const float factor = 1.0f / sum[0];
            for (j = 0; j < n; j++) room[start + j] = factor;
        }
        for (int64_t j = 0; j < width; j++) x[j] *= room[j];
    }
}

typedef struct {
    float *x, *room, *out;
    const float *bias, *u;
    const int64_t *sizes;
    int64_t groups, width;
} Grouped;

static void softmax_part(void *job, int64_t a, int64_t b, int slot) {
    const Grouped *all = job;
    const int64_t width = all->width;
    float *room = all->room + slot * width;
    softmax_rows(all->x + a * width, all->bias, all->sizes, room, b - a, all->groups, width);
}

/* `room` has the width of a row for each of MAX_THREADS. */
static void softmax(float *x, const float *bias, const int64_t *sizes, float *room, int64_t rows, int64_t groups,
                    int64_t width) {
    Grouped job = {x, room, 0, bias, 0, sizes, groups, width};
    share_rows(softmax_part, &job, rows, width, FEW_COMPUTED);
}

/* Write 1 for the first value of a group at which the cumulated p reaches 1 - u of the total, in some rows at once:
   each addition waits for the one before. */
INLINE void draw_one_of(const float *restrict p, const float *restrict u, float *restrict out, int rows, int64_t n,
                        int64_t groups, int64_t width) {
    float sum[PIECE_ROWS] = {0}, so_far[PIECE_ROWS] = {0}, reached[PIECE_ROWS];
    int32_t chosen[PIECE_ROWS] = {0};
    for (int64_t j = 0; j < n; j++)
        for (int r = 0; r < rows; r++) sum[r] += p[r * width + j];
    for (int r = 0; r < rows; r++) reached[r] = (1.0f - u[r * groups]) * sum[r];
    for (int64_t j = 0; j < n; j++)
        for (int r = 0; r < rows; r++) {
            so_far[r] += p[r * width + j];
            chosen[r] += so_far[r] < reached[r];
        }
    for (int r = 0; r < rows; r++)
        if (chosen[r] < n) out[r * width + chosen[r]] = 1.0f;
}

/* Do this for each group and row; 0 for the other values. */
LOOP void one_hot_rows(const float *restrict p, const float *restrict u, const int64_t *restrict sizes,
                       float *restrict out, int64_t rows, int64_t groups, int64_t width) {
    memset(out, 0, (size_t)(rows * width) * sizeof *out);
    int64_t r = 0;
    for (; r + PIECE_ROWS <= rows; r += PIECE_ROWS)
        for (int64_t g = 0, at = r * width; g < groups; at += sizes[g++])
            draw_one_of(p + at, u + r * groups + g, out + at, PIECE_ROWS, sizes[g], groups, width);
    for (; r < rows; r++)
        for (int64_t g = 0, at = r * width; g < groups; at += sizes[g++])
            draw_one_of(p + at, u + r * groups + g, out + at, 1, sizes[g], groups, width);
}

static void one_hot_part(void *job, int64_t a, int64_t b, int slot) {
    const Grouped *all = job;
    const int64_t width = all->width;
    (void)slot;
    one_hot_rows(all->x + a * width, all->u + a * all->groups, all->sizes, all->out + a * width, b - a,
                     all->groups, width);
}

static void one_hot(const float *p, const float *u, const int64_t *sizes, float *out, int64_t rows, int64_t groups,
                    int64_t width) {
    Grouped job = {(float *)p, 0, out, 0, u, sizes, groups, width};
    share_rows(one_hot_part, &job, rows, width, FEW_COMPUTED);
}

typedef struct {
    const float *grad, *y;
    float *out;
} Slopes;

/* Write the gradient with respect to the logistic function's input, given that to its output y. */
LOOP void sigmoid_slopes(const float *restrict grad, const float *restrict y, float *restrict out, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = (1.0f - y[i]) * y[i] * grad[i];
}

static void sigmoid_backward_part(void *job, int64_t a, int64_t b, int slot) {
    const Slopes *all = job;
    (void)slot;
    sigmoid_slopes(all->grad + a, all->y + a, all->out + a, b - a);
}

static void sigmoid_backward(const float *grad, const float *y, float *out, int64_t n) {
    Slopes job = {grad, y, out};
    share_in_pieces(sigmoid_backward_part, &job, n, PIECE_VALUES, FEW);
}

typedef struct {
    const float *rows;
    const int64_t *index;
    float *out;
    int64_t n, width;
} Gathered;

INLINE const float *row_of(const Gathered *all, int64_t a) {
    const int64_t i = all->index[a];
    return all->rows + (i < 0 ? 0 : i < all->n ? i : all->n - 1) * all->width;
}

static void gather_part(void *job, int64_t a, int64_t b, int slot) {
    const Gathered *all = job;
    (void)slot;
    for (; a < b; a++) {
        const float *row = row_of(all, a), *next = row_of(all, a + 1 < b ? a + 1 : a);
#if defined(__GNUC__)
        for (int64_t j = 0; j < all->width && j < VECTORS; j += 16) __builtin_prefetch(next + j);
#endif
        memcpy(all->out + a * all->width, row, (size_t)all->width * sizeof *row);
    }
}

/* Write the rows with these numbers, or the nearest ones that exist, into out. */
static void gather(const float *rows, const int64_t *index, float *out, int64_t wanted, int64_t n, int64_t width) {
    Gathered job = {rows, index, out, n, width};
    share_rows(gather_part, &job, wanted, width, FEW);
}

/* Multiply each row of x by its weight, and write the sums of the columns of that into out. */
LOOP void weigh_rows(float *restrict x, const float *restrict weight, float *restrict out, int64_t rows,
                     int64_t width) {
    for (int64_t j = 0; j < width; j++) out[j] = 0.0f;
    for (int64_t r = 0; r < rows; r++, x += width) {
        const float factor = weight[r];
        for (int64_t j = 0; j < width; j++) {
            const float y = factor * x[j];
            x[j] = y;
            out[j] += y;
        }
    }
}

/* On one thread: several threads would read rows that others have written, which costs more than it saves. */
static void weigh(float *x, const float *weight, float *out, int64_t rows, int64_t width) {
    weigh_rows(x, weight, out, rows, width);
}

typedef struct {
    float *w, *first, *second; /* the optimizer's state of the same shape */
    const float *grad;
    float rate, momentum, decay, factor, gain1, beta2, gain2, epsilon;
} Step;

/* Take one gradient step. Here and below, the weights are written separately, a few values at a time: after a product
   they lie in the caches of several processors, and interleaving writes to another array takes twice as long. */
LOOP void momentum_values(float *restrict w, float *restrict velocity, const float *restrict grad, float rate,
                          float momentum, float decay, float nesterov, int64_t n) {
    float change[VECTORS];
    for (int64_t m; n > 0; n -= m, w += m, velocity += m, grad += m) {
        m = n < VECTORS ? n : VECTORS;
        for (int64_t i = 0; i < m; i++) {
            const float step = rate * grad[i] + decay * w[i];
            const float v = momentum * velocity[i] - step;
            velocity[i] = v;
            change[i] = nesterov != 0.0f ? momentum * v - step : v;
        }
        for (int64_t i = 0; i < m; i++) w[i] += change[i];
    }
}

static void momentum_part(void *job, int64_t a, int64_t b, int slot) {
    const Step *s = job;
    (void)slot;
    momentum_values(s->w + a, s->first + a, s->grad + a, s->rate, s->momentum, s->decay, s->factor, b - a);
}

static void momentum_step(float *w, float *velocity, const float *grad, float rate, float momentum, float decay,
                          float nesterov, int64_t n) {
    Step job = {w, velocity, 0, grad, rate, momentum, decay, nesterov, 0, 0, 0, 0};
    share_in_pieces(momentum_part, &job, n, PIECE_VALUES, FEW);
}

/* Subtract the decay from a velocity that already includes the gradient, and add the change to the weights. */
LOOP void settle_values(float *restrict w, float *restrict velocity, float decay, int64_t n) {
    for (int64_t m; n > 0; n -= m, w += m, velocity += m) {
        m = n < VECTORS ? n : VECTORS;
        for (int64_t i = 0; i < m; i++) velocity[i] -= decay * w[i];
        for (int64_t i = 0; i < m; i++) w[i] += velocity[i];
    }
}

static void settle_part(void *job, int64_t a, int64_t b, int slot) {
    const Step *s = job;
    (void)slot;
    settle_values(s->w + a, s->first + a, s->decay, b - a);
}

static void settle(float *w, float *velocity, float decay, int64_t n) {
    Step job = {w, velocity, 0, 0, 0, 0, decay, 0, 0, 0, 0, 0};
    share_in_pieces(settle_part, &job, n, PIECE_VALUES, FEW);
}

/* Take one step along the gradient's running mean divided by its running root mean square. The gains are 1 - beta1 and
   1 - beta2; computed from float32 betas they would be wrong by 1e-5. */
LOOP void adam_values(float *restrict w, float *restrict mean, float *restrict square, const float *restrict grad,
                      float rate, float beta1, float gain1, float beta2, float gain2, float epsilon, float decay,
                      int64_t n) {
    float change[VECTORS];
    for (int64_t k; n > 0; n -= k, w += k, mean += k, square += k, grad += k) {
        k = n < VECTORS ? n : VECTORS;
        for (int64_t i = 0; i < k; i++) {
            const float g = grad[i] + decay * w[i];
            const float m = beta1 * mean[i] + gain1 * g;
            const float s = beta2 * square[i] + gain2 * (g * g);
            mean[i] = m;
            square[i] = s;
            change[i] = m / (sqrtf(s) + epsilon);
        }
        for (int64_t i = 0; i < k; i++) w[i] -= rate * change[i];
    }
}

static void adam_part(void *job, int64_t a, int64_t b, int slot) {
    const Step *s = job;
    (void)slot;
    adam_values(s->w + a, s->first + a, s->second + a, s->grad + a, s->rate, s->momentum, s->gain1, s->beta2,
                    s->gain2, s->epsilon, s->decay, b - a);
}

static void adam_step(float *w, float *mean, float *square, const float *grad, float rate, float beta1, float gain1,
                      float beta2, float gain2, float epsilon, float decay, int64_t n) {
    Step job = {w, mean, square, grad, rate, beta1, decay, 0, gain1, beta2, gain2, epsilon};
    share_in_pieces(adam_part, &job, n, PIECE_VALUES, FEW);
}

/* exp(x) for |x| <= 708, accurate to a few units in the last place. */
INLINE double exponential(double x) {
    const double shift = 6755399441055744.0; /* 1.5 * 2**52: adding it rounds to a whole number, in the lowest bits */
    const double shifted = x * 1.4426950408889634 + shift;
    const double n = shifted - shift;
    /* ln(2) in two parts, the first with so few bits that n times it is exact. */
    double r = x - n * 0.693147180369123816490;
    r = r - n * 1.90821492927058770002e-10;
    /* Taylor series on [-ln(2) / 2, ln(2) / 2], relative error 6e-15. */
    double p = 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    uint64_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52;
    double power; /* 2**n */
    memcpy(&power, &bits, sizeof power);
    return p * power;
}

#define WIDE 16 /* products that a processor computes at once */

/* Products as fractions in [1, 2) and powers of two, so that they cannot overflow. */
typedef struct {
    double fraction[WIDE];
    uint64_t power[WIDE]; /* each fold adds 1023 too many */
    int64_t folds;
} Products;

INLINE void empty_products(Products *all) {
    for (int l = 0; l < WIDE; l++) {
        all->fraction[l] = 1.0;
        all->power[l] = 0;
    }
    all->folds = 0;
}

INLINE void fold(Products *all) {
    for (int l = 0; l < WIDE; l++) {
        uint64_t bits;
        memcpy(&bits, &all->fraction[l], sizeof bits);
        all->power[l] += bits >> 52;
        bits = (bits & 0xFFFFFFFFFFFFFull) | 0x3FF0000000000000ull;
        memcpy(&all->fraction[l], &bits, sizeof bits);
    }
    all->folds++;
}

INLINE double log_of(const Products *all) {
    double fraction = 1.0;
    uint64_t power = 0;
    for (int l = 0; l < WIDE; l++) {
        fraction *= all->fraction[l];
        power += all->power[l];
    }
    return log(fraction) + 0.6931471805599453 * (double)((int64_t)power - 1023 * WIDE * all->folds);
}

/* log of the product of rest + share * growth over hidden units; `steps` factors cannot overflow. */
INLINE double log_product(const double *restrict rest, const double *restrict share, const double *restrict growth,
                          int64_t width, int64_t steps) {
    Products all;
    empty_products(&all);
    int64_t j = 0;
    while (j + WIDE <= width) {
        const int64_t left = (width - j) / WIDE, n = left < steps ? left : steps;
        for (int64_t s = 0; s < n; s++, j += WIDE)
            for (int l = 0; l < WIDE; l++) all.fraction[l] *= rest[j + l] + share[j + l] * growth[j + l];
        fold(&all);
    }
    for (int l = 0; j + l < width; l++) all.fraction[l] *= rest[j + l] + share[j + l] * growth[j + l];
    fold(&all);
    return log_of(&all);
}

/* log of the product of (off + on exp((1 - v) W)) / (off + on exp(-v W)) over hidden units. */
INLINE double log_ratio(const double *restrict off, const double *restrict on, const double *restrict growth,
                        const double *restrict W, double v, int64_t width, int64_t steps) {
    Products above, below;
    empty_products(&above);
    empty_products(&below);
    int64_t j = 0;
    while (j < width) {
        const int64_t n = width - j < steps * WIDE ? width - j : steps * WIDE;
        int64_t k = j;
        for (; k + WIDE <= j + n; k += WIDE)
            for (int l = 0; l < WIDE; l++) {
                const double share = on[k + l] * exponential(-v * W[k + l]);
                above.fraction[l] *= off[k + l] + share * growth[k + l];
                below.fraction[l] *= off[k + l] + share;
            }
        for (int l = 0; k + l < j + n; l++) {
            const double share = on[k + l] * exponential(-v * W[k + l]);
            above.fraction[l] *= off[k + l] + share * growth[k + l];
            below.fraction[l] *= off[k + l] + share;
        }
        j += n;
        fold(&above);
        fold(&below);
    }
    return log_of(&above) - log_of(&below);
}

/* A matrix of float64 or float32 numbers, and a sum for each of its rows. */
typedef struct {
    const void *x;
    void *out;
    int64_t width, is_double;
} Sums;

#define FOLDED 1000 /* factors of at most 2 whose product cannot overflow */

/* exp(x) for x <= 0, but at least exp(-708). */
INLINE double falling64(double x) { return exponential(x > -708.0 ? x : -708.0); }

/* Add softplus(z), which is the larger of z and 0 and the log of a factor in [1, 2]. NaN stays. */
INLINE void add_softplus(double z, double *positive, double *fraction) {
    *positive += 0.0 > z ? 0.0 : z;
    *fraction += *fraction * falling64(-fabs(z));
}

/* Sum of softplus(x) over float64 numbers, or over float32 ones. */
INLINE double softplus_sum(const void *numbers, int is_double, int64_t width) {
    const double *restrict x = numbers;
    const float *restrict single = numbers;
    double positive[WIDE] = {0}, sum = 0.0;
    Products all;
    empty_products(&all);
    int64_t j = 0;
    while (j + WIDE <= width) {
        const int64_t left = (width - j) / WIDE, n = left < FOLDED ? left : FOLDED;
        for (int64_t s = 0; s < n; s++, j += WIDE)
            for (int l = 0; l < WIDE; l++)
                add_softplus(is_double ? x[j + l] : (double)single[j + l], &positive[l], &all.fraction[l]);
        fold(&all);
    }
    for (int l = 0; j + l < width; l++)
        add_softplus(is_double ? x[j + l] : (double)single[j + l], &positive[l], &all.fraction[l]);
    fold(&all);
    for (int l = 0; l < WIDE; l++) sum += positive[l];
    return sum + log_of(&all);
}

LOOP void softplus_sums_rows(const Sums *s, int64_t first, int64_t last) {
    for (int64_t r = first; r < last; r++)
        if (s->is_double)
            ((double *)s->out)[r] = softplus_sum((const double *)s->x + r * s->width, 1, s->width);
        else
            ((float *)s->out)[r] = (float)softplus_sum((const float *)s->x + r * s->width, 0, s->width);
}

static void softplus_sums_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    softplus_sums_rows(job, a, b);
}

/* Write the sum of softplus(x) of each row of float64 numbers, or of float32 numbers. */
static void softplus_sums(const void *x, void *out, int64_t rows, int64_t width, int64_t is_double) {
    Sums job = {x, out, width, is_double};
    share_rows(softplus_sums_part, &job, rows, width, FEW_COMPUTED);
}

/* Inputs of units without a bias, biases of all rows (stride 0) or of each, two scales of at least 0, and a sum for each
   row. */
typedef struct {
    float *x;
    const float *bias;
    double *out;
    double before, after;
    int64_t stride, width;
} Scaled;

/* Do what add_softplus does for z times each of two scales, by which the sum of positive z remains to be multiplied. */
INLINE void add_both(double z, double before, double after, double *positive, double *low, double *high) {
    *positive += 0.0 > z ? 0.0 : z;
    *low += *low * falling64(before * -fabs(z));
    *high += *high * falling64(after * -fabs(z));
}

/* Sum of softplus(after x) - softplus(before x). */
INLINE double softplus_change(const float *restrict x, double before, double after, int64_t width) {
    double positive[WIDE] = {0}, sum = 0.0;
    Products low, high;
    empty_products(&low);
    empty_products(&high);
    int64_t j = 0;
    while (j + WIDE <= width) {
        const int64_t left = (width - j) / WIDE, n = left < FOLDED ? left : FOLDED;
        for (int64_t s = 0; s < n; s++, j += WIDE)
            for (int l = 0; l < WIDE; l++)
                add_both((double)x[j + l], before, after, &positive[l], &low.fraction[l], &high.fraction[l]);
        fold(&low);
        fold(&high);
    }
    for (int l = 0; j + l < width; l++)
        add_both((double)x[j + l], before, after, &positive[l], &low.fraction[l], &high.fraction[l]);
    fold(&low);
    fold(&high);
    for (int l = 0; l < WIDE; l++) sum += positive[l];
    return (after - before) * sum + (log_of(&high) - log_of(&low));
}

LOOP void softplus_changes_rows(const Scaled *s, int64_t a, int64_t b) {
    const float factor = (float)s->after;
    for (; a < b; a++) {
        float *restrict x = s->x + a * s->width;
        const float *restrict bias = s->bias + a * s->stride;
        for (int64_t j = 0; j < s->width; j++) x[j] += bias[j];
        s->out[a] = softplus_change(x, s->before, s->after, s->width);
        for (int64_t j = 0; j < s->width; j++) x[j] *= factor;
    }
}

static void softplus_changes_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    softplus_changes_rows(job, a, b);
}

/* Add the bias to x, write the sum of softplus(after x) - softplus(before x) of each row, and multiply x by `after`. */
static void softplus_changes(float *x, const float *bias, int64_t stride, double before, double after, double *out,
                             int64_t rows, int64_t width) {
    Scaled job = {x, bias, out, before, after, stride, width};
    share_rows(softplus_changes_part, &job, rows, width, FEW_COMPUTED);
}

typedef struct {
    const float *x;
    const double *weights;
    double *out;
    int64_t width;
} Weighted;

LOOP void weighted_sums_rows(const Weighted *s, int64_t a, int64_t b) {
    const double *restrict weights = s->weights;
    for (; a < b; a++) {
        const float *restrict x = s->x + a * s->width;
        double sums[WIDE] = {0}, sum = 0.0;
        int64_t j = 0;
        for (; j + WIDE <= s->width; j += WIDE)
            for (int l = 0; l < WIDE; l++) sums[l] += (double)x[j + l] * weights[j + l];
        for (int l = 0; j + l < s->width; l++) sums[l] += (double)x[j + l] * weights[j + l];
        for (int l = 0; l < WIDE; l++) sum += sums[l];
        s->out[a] = sum;
    }
}

static void weighted_sums_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    weighted_sums_rows(job, a, b);
}

/* Write the sum of the numbers of each row times these weights. */
static void weighted_sums(const float *x, const double *weights, double *out, int64_t rows, int64_t width) {
    Weighted job = {x, weights, out, width};
    share_rows(weighted_sums_part, &job, rows, width, FEW);
}

#define BLOCK_ROWS 16 /* rows whose probabilities stay in the cache while all weights are read */

/* Contribution of the hidden units to the log-odds of the visible units. */
typedef struct {
    const double *x, *v, *W;
    double *room, *out;
    int64_t rows, visible, width;
    int64_t *large;
} Odds;

#define LARGEST 340.0 /* of the absolute values of weights: the product of two factors must not overflow */

/* Write the contribution for visible units a to b; `room` holds 2 * BLOCK_ROWS + 1 rows of x. */
LOOP void log_odds_units(const Odds *o, double *restrict room, int64_t a, int64_t b) {
    const int64_t width = o->width;
    double *restrict off = room, *restrict on = room + BLOCK_ROWS * width;
    double *restrict growth = room + 2 * BLOCK_ROWS * width;
    for (int64_t first = 0; first < o->rows; first += BLOCK_ROWS) {
        const int64_t n = o->rows - first < BLOCK_ROWS ? o->rows - first : BLOCK_ROWS;
        const double *restrict x = o->x + first * width;
        for (int64_t j = 0; j < n * width; j++) {
            const double decay = exponential(-x[j]);
            on[j] = 1.0 / (1.0 + decay);
            off[j] = decay / (1.0 + decay);
        }
        for (int64_t i = a; i < b; i++) {
            const double *restrict W = o->W + i * width;
            double sums[WIDE] = {0}, sizes[WIDE] = {0}, sum = 0.0, largest = 1e-3;
            int64_t j = 0;
            for (; j + WIDE <= width; j += WIDE)
                for (int l = 0; l < WIDE; l++) {
                    const double size = W[j + l] < 0.0 ? -W[j + l] : W[j + l];
                    growth[j + l] = exponential(W[j + l]);
                    sums[l] += W[j + l];
                    sizes[l] = size > sizes[l] ? size : sizes[l];
                }
            for (; j < width; j++) {
                const double size = W[j] < 0.0 ? -W[j] : W[j];
                growth[j] = exponential(W[j]);
                sum += W[j];
                largest = size > largest ? size : largest;
            }
            for (int l = 0; l < WIDE; l++) {
                sum += sums[l];
                largest = sizes[l] > largest ? sizes[l] : largest;
            }
            if (largest > LARGEST) {
                o->large[i] = 1;
                continue;
            }
            const int64_t steps = (int64_t)(2.0 * LARGEST / largest); /* a factor has at most the size of exp(largest) */
            for (int64_t r = 0; r < n; r++) {
                const double v = o->v[(first + r) * o->visible + i];
                const double *restrict zero = off + r * width, *restrict one = on + r * width;
                o->out[(first + r) * o->visible + i] =
                    v == 0.0   ? log_product(zero, one, growth, width, steps)
                    : v == 1.0 ? sum - log_product(one, zero, growth, width, steps)
                               : log_ratio(zero, one, growth, W, v, width, steps);
            }
        }
    }
}

static void log_odds_part(void *job, int64_t a, int64_t b, int slot) {
    const Odds *o = job;
    log_odds_units(o, o->room + slot * (2 * BLOCK_ROWS + 1) * o->width, a, b);
}

/* Write what the hidden units, of inputs x given the row v in [0, 1], add to the log-odds of each visible unit: the sum
   of softplus(x - v W + W) - softplus(x - v W). With the probabilities on and off of each hidden unit that is the log
   of a product, which needs a single logarithm. `room` holds 2 * BLOCK_ROWS + 1 rows of x for each of MAX_THREADS, and
   `large` becomes 1 for each visible unit with a weight beyond LARGEST, whose values are wrong. */
static void log_odds_of_rows(const double *x, const double *v, const double *W, double *room, double *out,
                             int64_t *large, int64_t rows, int64_t visible, int64_t width) {
    Odds job = {x, v, W, room, out, rows, visible, width, large};
    share_in_pieces(log_odds_part, &job, visible, 1, FEW_COMPUTED / (width + 1) + 1);
}

/* The same for one row, with weights in float32. */
typedef struct {
    const float *off, *on, *W;
    const double *v;
    double *out;
    int64_t width;
} RowOdds;

#define LARGEST32 40.0f /* of the absolute values of weights: the product of two factors must not overflow float32 */
#define SOME 512        /* factors computed at a time: they stay in the L1 cache */

/* exp(x) for |x| <= LARGEST32, in fewer instructions than exponential32: its range lets the power of two be added to
   the bits of the rest, and ln(2) be one number. */
INLINE float short_exponential32(float x) {
    const float shift = 12582912.0f, shifted = x * 1.44269504f + shift;
    float y = exponential_of_rest(x - (shifted - shift) * 0.69314718f);
    uint32_t bits, power;
    memcpy(&bits, &y, sizeof bits);
    memcpy(&power, &shifted, sizeof power);
    bits += power << 23;
    memcpy(&y, &bits, sizeof y);
    return y;
}

/* Multiply by rows of WIDE factors, of which `steps` cannot overflow. */
INLINE void multiply_all(Products *all, const double *restrict factors, int64_t rows, int64_t steps) {
    while (rows > 0) {
        const int64_t n = rows < steps ? rows : steps;
        for (int64_t s = 0; s < n; s++, factors += WIDE)
            for (int l = 0; l < WIDE; l++) all->fraction[l] *= factors[l];
        fold(all);
        rows -= n;
    }
}

/* log of the product of off + on exp(scale W) over hidden units. Factors and products of two are float32 numbers; those
   of all pairs are not, so that errors do not add up. `steps` pairs cannot overflow. */
LOOP double log_mixtures(const RowOdds *o, const float *restrict W, float scale, int64_t steps) {
    double pairs[SOME / 2];
    Products all;
    empty_products(&all);
    for (int64_t first = 0; first < o->width; first += SOME) {
        const int64_t n = o->width - first < SOME ? o->width - first : SOME;
        const int64_t half = (n + 2 * WIDE - 1) / (2 * WIDE) * WIDE, rest = n > half ? n - half : 0;
        const float *restrict off = o->off + first, *restrict on = o->on + first, *restrict w = W + first;
        for (int64_t j = 0; j < rest; j++)
            pairs[j] = (double)((off[j] + on[j] * short_exponential32(scale * w[j])) *
                                (off[half + j] + on[half + j] * short_exponential32(scale * w[half + j])));
        for (int64_t j = rest; j < half; j++)
            pairs[j] = j < n ? (double)(off[j] + on[j] * short_exponential32(scale * w[j])) : 1.0;
        multiply_all(&all, pairs, half / WIDE, steps);
    }
    return log_of(&all);
}

/* Return the largest absolute value; NaN if there is one. Bits of positive numbers compare as these numbers do, and
   compilers vectorise the largest of integers, but not that of numbers. */
INLINE float largest32(const float *restrict x, int64_t n) {
    int32_t top = 0;
    for (int64_t j = 0; j < n; j++) {
        int32_t bits;
        memcpy(&bits, &x[j], sizeof bits);
        bits &= 0x7FFFFFFF;
        top = bits > top ? bits : top;
    }
    float largest;
    memcpy(&largest, &top, sizeof largest);
    return largest;
}

LOOP void row_log_odds_units(const RowOdds *o, int64_t a, int64_t b) {
    for (int64_t i = a; i < b; i++) {
        const float *restrict W = o->W + i * o->width, largest = largest32(W, o->width);
        const double v = o->v[i];
        if (!(largest <= LARGEST32 && v >= 0.0 && v <= 1.0)) {
            o->out[i] = (double)NAN;
            continue;
        }
        const int64_t steps = (int64_t)(LARGEST / (1e-3 + (double)largest)); /* a pair is at most exp(2 largest) */
        const double on = v == 1.0 ? 0.0 : log_mixtures(o, W, (float)(1.0 - v), steps);
        o->out[i] = on - (v == 0.0 ? 0.0 : log_mixtures(o, W, (float)-v, steps));
    }
}

static void row_log_odds_part(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    row_log_odds_units(job, a, b);
}

/* Write the probabilities of the states of hidden units, given their inputs. */
LOOP void split_inputs(const double *restrict x, float *restrict off, float *restrict on, int64_t n) {
    for (int64_t j = 0; j < n; j++) {
        const double input = x[j] > 700.0 ? 700.0 : x[j] < -700.0 ? -700.0 : x[j], decay = exponential(-input);
        on[j] = (float)(1.0 / (1.0 + decay));
        off[j] = (float)(decay / (1.0 + decay));
    }
}

/* Do what log_odds_of_rows does for one row and any x, in float32 where rounding errors do not add up. `room` holds two
   rows of x, of a width rounded up to a multiple of WIDE. The result is NaN for each visible unit with a weight beyond LARGEST32 or a value outside [0, 1]. */
static void log_odds_of_row(const double *x, const double *v, const float *W, float *room, double *out, int64_t visible,
                            int64_t width) {
    float *on = room + (width + WIDE - 1) / WIDE * WIDE;
    RowOdds job = {room, on, W, v, out, width};
    split_inputs(x, room, on, width);
    share_in_pieces(row_log_odds_part, &job, visible, 16, FEW_COMPUTED / (width + 1) + 1);
}

typedef struct {
    float *v;
    const float *values;
} Gaps;

/* Replace each NaN by the value at its place. */
LOOP void fill_values(float *restrict v, const float *restrict values, int64_t n) {
    for (int64_t i = 0; i < n; i++) v[i] = v[i] == v[i] ? v[i] : values[i];
}

static void fill_part(void *job, int64_t a, int64_t b, int slot) {
    const Gaps *all = job;
    (void)slot;
    fill_values(all->v + a, all->values + a, b - a);
}

static void fill(float *v, const float *values, int64_t n) {
    Gaps job = {v, values};
    share_in_pieces(fill_part, &job, n, PIECE_VALUES, FEW);
}

/* Write for each column of x the number of values that are not NaN, and their mean, sum of squares around it, minimum
   and maximum. Sums are of differences from the first value, which `first` has room for: they are exactly 0 in a
   constant column, and small relative to any offset. A column without values has the mean and squares 0 and infinite
   bounds. An infinity always shows in the mean, but not always in the others. */
LOOP void statistics_columns(const float *restrict x, int32_t *restrict counts, float *restrict first,
                             double *restrict mean, double *restrict squares, float *restrict low,
                             float *restrict high, int64_t rows, int64_t width, int64_t columns) {
    int64_t missing = columns; /* columns whose first value has not been found yet */
    for (int64_t j = 0; j < columns; j++) first[j] = NAN;
    for (int64_t r = 0; r < rows && missing; r++) {
        const float *restrict row = x + r * width;
        missing = 0;
        for (int64_t j = 0; j < columns; j++) {
            first[j] = first[j] == first[j] ? first[j] : row[j];
            missing += first[j] == first[j] ? 0 : 1;
        }
    }
    for (int64_t j = 0; j < columns; j++) {
        first[j] = first[j] == first[j] ? first[j] : 0.0f;
        mean[j] = squares[j] = 0.0;
        counts[j] = 0;
        low[j] = INFINITY;
        high[j] = -INFINITY;
    }
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict row = x + r * width;
        for (int64_t j = 0; j < columns; j++) {
            const float value = row[j] == row[j] ? row[j] : first[j];
            counts[j] += row[j] == row[j] ? 1 : 0;
            mean[j] += (double)value - (double)first[j];
            low[j] = row[j] < low[j] ? row[j] : low[j];
            high[j] = row[j] > high[j] ? row[j] : high[j];
        }
    }
    for (int64_t j = 0; j < columns; j++) mean[j] /= counts[j] ? (double)counts[j] : 1.0;
    for (int64_t r = 0; r < rows; r++) {
        const float *restrict row = x + r * width;
        for (int64_t j = 0; j < columns; j++) {
            const float value = row[j] == row[j] ? row[j] : first[j], counted = row[j] == row[j] ? 1.0f : 0.0f;
            const double rest = (((double)value - (double)first[j]) - mean[j]) * (double)counted;
            squares[j] += rest * rest;
        }
    }
    for (int64_t j = 0; j < columns; j++) mean[j] += (double)first[j];
}

typedef struct {
    const float *x;
    int32_t *counts;
    double *mean, *squares;
    float *first, *low, *high;
    int64_t rows, width;
} Statistics;

static void statistics_part(void *job, int64_t a, int64_t b, int slot) {
    const Statistics *s = job;
    (void)slot;
    statistics_columns(s->x + a, s->counts + a, s->first + a, s->mean + a, s->squares + a, s->low + a, s->high + a,
                       s->rows, s->width, b - a);
}

static void column_statistics(const float *x, int32_t *counts, float *first, double *mean, double *squares, float *low,
                              float *high, int64_t rows, int64_t width) {
    Statistics job = {x, counts, mean, squares, first, low, high, rows, width};
    share(statistics_part, &job, width, COLUMNS, rows * width < FEW ? width + 1 : 0);
}

/* Add factor times compressed rows times W to out; places has room for one index of each row.

   Reads W in blocks of rows that stay in the cache for all rows of `out`, and adds four of them at once, so that `out`
   is read and written a quarter as often. */
#define ADD_PRODUCT(name, index)                                                                                       \
    LOOP void name##_rows(const index *restrict ends, const index *restrict indices, const float *restrict data,       \
                   float factor, const float *restrict W, float *restrict out, index *restrict places, int64_t rows,   \
                   int64_t depth, int64_t width, int64_t block) {                                                      \
        memcpy(places, ends, (size_t)rows * sizeof *places);                                                           \
        for (int64_t top = block; top < depth + block; top += block)                                                   \
            for (int64_t r = 0; r < rows; r++) {                                                                       \
                float *restrict to = out + r * width;                                                                  \
                index k = places[r], last = k;                                                                         \
                while (last < ends[r + 1] && indices[last] < top) last++;                                              \
                places[r] = last;                                                                                      \
                for (; k + 4 <= last; k += 4) {                                                                        \
                    const float a = factor * data[k], b = factor * data[k + 1];                                        \
                    const float c = factor * data[k + 2], d = factor * data[k + 3];                                    \
                    const float *restrict wa = W + indices[k] * width, *restrict wb = W + indices[k + 1] * width;      \
                    const float *restrict wc = W + indices[k + 2] * width, *restrict wd = W + indices[k + 3] * width;  \
                    for (int64_t j = 0; j < width; j++)                                                                \
                        to[j] += (a * wa[j] + b * wb[j]) + (c * wc[j] + d * wd[j]);                                    \
                }                                                                                                      \
                for (; k < last; k++) {                                                                                \
                    const float a = factor * data[k];                                                                  \
                    const float *restrict wa = W + indices[k] * width;                                                 \
                    for (int64_t j = 0; j < width; j++) to[j] += a * wa[j];                                            \
                }                                                                                                      \
            }                                                                                                          \
    }                                                                                                                  \
    typedef struct {                                                                                                   \
        const index *ends, *indices;                                                                                   \
        const float *data;                                                                                             \
        float factor;                                                                                                  \
        const float *W;                                                                                                \
        float *out;                                                                                                    \
        index *places;                                                                                                 \
        int64_t depth, width, block;                                                                                   \
    } Factors_##name;                                                                                                  \
    static void name##_part(void *job, int64_t a, int64_t b, int slot) {                                               \
        const Factors_##name *f = job;                                                                                 \
        (void)slot;                                                                                                    \
        name##_rows(f->ends + a, f->indices, f->data, f->factor, f->W, f->out + a * f->width, f->places + a, b - a,    \
                    f->depth, f->width, f->block);                                                                     \
    }                                                                                                                  \
    static void name(const index *ends, const index *indices, const float *data, float factor, const float *W,         \
                     float *out, index *places, int64_t rows, int64_t depth, int64_t width, int64_t block) {           \
        Factors_##name job = {ends, indices, data, factor, W, out, places, depth, width, block};                       \
        const int64_t stored = rows > 0 ? (int64_t)(ends[rows] - ends[0]) : 0;                                         \
        share(name##_part, &job, rows, 1, stored * width < FEW ? rows + 1 : 0);                                        \
    }

ADD_PRODUCT(add_product_32, int32_t)
ADD_PRODUCT(add_product_64, int64_t)

#include "products.h"
#include "bfloat16.h"
