/* Products of float32 matrices whose factors are rounded to bfloat16, by AMX, the matrix unit of Intel's processors.

A tile register holds 16 rows of 16 words. One instruction adds to 16 x 16 float32 sums the product of 16 x 32 and
32 x 16 bfloat16 numbers, a word of which is a pair of neighbours along the inner dimension. A strip is 16 rows of the
left factor, or 16 columns of the right one, in blocks of 16 words each way as the registers take them; it is rounded as
it is copied. The strips of the factor with fewer are copied by all threads together, those of the other one by the
thread that multiplies them. The inner dimension is summed in order: results do not depend on the number of threads. */

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__GLIBC__)

#include <sys/syscall.h>
#include <unistd.h>

#define ASK_FOR_STATE 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18         /* XFEATURE_XTILEDATA */

/* Ask the system for the use of tile registers by all threads, and return whether they may be used. The caller has
   checked that the processor has them. */
EXPORT int64_t allow_amx(void) { return HAS_AVX512 && syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0; }

typedef uint32_t Words __attribute__((vector_size(64), may_alias));
typedef uint16_t Halves __attribute__((vector_size(64), may_alias));
typedef uint32_t UnalignedWords __attribute__((vector_size(64), aligned(4), may_alias));

#define AMX static __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,prfchw")))
#define PAIRS                                                                                                          \
    ((Halves){0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,                                            \
              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31})
#define STEP_ROWS 10 /* rows of a tile of products.h */
#define LINE 16      /* rows of a tile, and words of a row */

#define CLEAR(t) __asm__ volatile("tilezero %%tmm" #t :::)
#define LOAD(t, from) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((int64_t)64) : "memory")
#define STORE(t, to) __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((int64_t)128) : "memory")
#define ADD_TILES(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum :::)

/* Let this thread use eight tiles of 16 rows. */
INLINE void begin_tiles(void) {
    struct {
        uint8_t palette, first, unused[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } layout = {1, 0, {0}, {0}, {0}};
    for (int t = 0; t < 8; t++) layout.bytes[t] = 64, layout.rows[t] = LINE;
    __asm__ volatile("ldtilecfg %0" ::"m"(layout) : "memory");
}

INLINE void end_tiles(void) { __asm__ volatile("tilerelease" :::); }

/* Round 32 numbers, to the nearest, ties to even. */
INLINE void round_numbers(const Words *low, const Words *high, Halves *out) {
    __asm__("vcvtne2ps2bf16 %1, %2, %0" : "=v"(*out) : "v"(*low), "v"(*high));
}

/* Round and copy a block of 16 x 16 pairs of a matrix from a place on, 0 beyond its end. Pairs are neighbours in a row
   if `along`, else in a column. */
INLINE void copy_block(const float *x, int64_t height, int64_t width, int64_t row, int64_t column, int along,
                       int turned, Words *out) {
    const int64_t tall = along ? LINE : 2 * LINE, wide = along ? 2 * LINE : LINE;
    float edge[2 * LINE * LINE];
    const float *from = x + row * width + column;
    if (height - row < tall || width - column < wide) {
        for (int64_t i = 0; i < tall; i++)
            for (int64_t j = 0; j < wide; j++)
                edge[i * wide + j] = row + i < height && column + j < width ? from[i * width + j] : 0.0f;
        from = edge;
        width = wide;
    }
    const int64_t ahead = along ? 4 * LINE : 4 * LINE * width;
    Words block[LINE];
    for (int i = 0; i < LINE; i++) {
        const float *one = from + (along ? i : 2 * i) * width, *other = along ? one + LINE : one + width;
        const Words a = *(const UnalignedWords *)one, b = *(const UnalignedWords *)other;
        __builtin_prefetch(one + ahead);
        __builtin_prefetch(other + ahead);
        Halves halves;
        round_numbers(&a, &b, &halves);
        block[i] = (Words)(along ? halves : __builtin_shuffle(halves, PAIRS));
    }
    if (turned) transpose_512((Vector_512 *)block);
    memcpy(out, block, sizeof block);
}

/* A factor of a product. The left one has `size` rows and `depth` columns, the right one the reverse; if turned, it is
   stored by columns. */
typedef struct {
    const float *numbers;
    int64_t size, depth, is_left, turned;
} Side;

INLINE int64_t blocks_of(int64_t depth) { return (depth + 2 * LINE - 1) / (2 * LINE); }

INLINE int64_t strips_of(int64_t size) { return (size + LINE - 1) / LINE; }

/* Round and copy a strip of a factor. */
AMX void copy_strip(const Side *s, int64_t strip, Words *out) {
    const int64_t at = strip * LINE;
    for (int64_t k = 0; k < s->depth; k += 2 * LINE, out += LINE)
        if (s->is_left && !s->turned)
            copy_block(s->numbers, s->size, s->depth, at, k, 1, 0, out);
        else if (s->is_left)
            copy_block(s->numbers, s->depth, s->size, k, at, 0, 1, out);
        else if (s->turned)
            copy_block(s->numbers, s->size, s->depth, at, k, 1, 1, out);
        else
            copy_block(s->numbers, s->depth, s->size, k, at, 0, 0, out);
}

/* Multiply one or two strips of the left factor with one or two of the right one; sums lie in rows of 32. */
INLINE void multiply_strips(const Words *a, const Words *b, int64_t blocks, int tall, int broad, float *sums) {
    const Words *under = a + blocks * LINE, *beside = b + blocks * LINE;
    CLEAR(0);
    CLEAR(1);
    CLEAR(2);
    CLEAR(3);
    for (int64_t k = 0; k < blocks * LINE; k += LINE) {
        LOAD(4, a + k);
        LOAD(6, b + k);
        ADD_TILES(0, 4, 6);
        if (tall) {
            LOAD(5, under + k);
            ADD_TILES(2, 5, 6);
        }
        if (broad) {
            LOAD(7, beside + k);
            ADD_TILES(1, 4, 7);
            if (tall) ADD_TILES(3, 5, 7);
        }
    }
    STORE(0, sums);
    STORE(1, sums + LINE);
    STORE(2, sums + 2 * LINE * LINE);
    STORE(3, sums + 2 * LINE * LINE + LINE);
}

typedef struct {
    Side left, right;
    Words *lefts, *rights, *own; /* copied strips, and room of each thread for two of them */
    float *out;
    int64_t blocks, by_rows;
    float factor, keep;
    Factors step; /* weights and how they move */
} Tiled;

/* Copy strips of both factors, as far as threads share them. */
static void copy_strips_part(void *job, int64_t first, int64_t last, int slot) {
    const Tiled *t = job;
    const int64_t lefts = t->lefts ? strips_of(t->left.size) : 0, size = t->blocks * LINE;
    (void)slot;
    for (int64_t s = first; s < last; s++)
        if (s < lefts)
            copy_strip(&t->left, s, t->lefts + s * size);
        else
            copy_strip(&t->right, s - lefts, t->rights + (s - lefts) * size);
}

/* Copy the strips that threads share. */
static void copy_strips(Tiled *t) {
    const int64_t n = (t->lefts ? strips_of(t->left.size) : 0) + (t->rights ? strips_of(t->right.size) : 0);
    share_in_pieces(copy_strips_part, t, n, 1, FEW / (2 * LINE * LINE * t->blocks) + 1);
}

/* Compute sums of strips i and i + 1 of the left factor and j and j + 1 of the right one. */
INLINE void multiply_pair(const Tiled *t, const Words *a, const Words *b, int64_t i, int64_t j, float *sums) {
    multiply_strips(a, b, t->blocks, (i + 1) * LINE < t->left.size, (j + 1) * LINE < t->right.size, sums);
}

/* Write sums of strips i and j, and the following ones, into the result. */
AMX void write_sums(const Tiled *t, const float *restrict sums, int64_t i, int64_t j) {
    const int64_t n = t->right.size, row = i * LINE, column = j * LINE;
    const int64_t tall = t->left.size - row < 2 * LINE ? t->left.size - row : 2 * LINE;
    const int64_t wide = n - column < 2 * LINE ? n - column : 2 * LINE;
    float *restrict out = t->out + row * n + column;
    for (int64_t r = 0; r < tall; r++, out += n, sums += 2 * LINE)
        for (int64_t c = 0; c < wide; c++)
            out[c] = t->keep == 0.0f ? t->factor * sums[c] : t->keep * out[c] + t->factor * sums[c];
}

/* Multiply pairs of strips first to last of the divided factor with all strips of the other one. */
static void multiply_pairs_part(void *job, int64_t first, int64_t last, int slot) {
    const Tiled *t = job;
    const Side *divided = t->by_rows ? &t->left : &t->right;
    const int64_t size = t->blocks * LINE, rest = strips_of((t->by_rows ? &t->right : &t->left)->size);
    float sums[4 * LINE * LINE] __attribute__((aligned(64)));
    Words *own = t->own + 2 * size * slot;
    begin_tiles();
    for (int64_t p = 2 * first; p < 2 * last; p += 2) {
        copy_strip(divided, p, own);
        if ((p + 1) * LINE < divided->size) copy_strip(divided, p + 1, own + size);
        for (int64_t q = 0; q < rest; q += 2) {
            const int64_t i = t->by_rows ? p : q, j = t->by_rows ? q : p;
            const Words *a = t->by_rows ? own : t->lefts + q * size, *b = t->by_rows ? t->rights + q * size : own;
            multiply_pair(t, a, b, i, j, sums);
            write_sums(t, sums, i, j);
        }
    }
    end_tiles();
}

/* Write keep * out + factor * left right, of m x k and k x n numbers. `room` is aligned to 64 bytes and holds, in
   32-bit words, half of k rounded up to 32, times: the smaller of m and n rounded up to 16, and 32 for each of
   MAX_THREADS. */
EXPORT void multiply_by_amx(const float *left, int64_t left_turned, const float *right, int64_t right_turned,
                            void *room, float *out, int64_t m, int64_t k, int64_t n, float factor, float keep) {
    const int64_t blocks = blocks_of(k), by_rows = m > n, common = strips_of(by_rows ? n : m) * blocks * LINE;
    Words *words = room;
    Tiled job = {{left, m, k, 1, left_turned}, {right, n, k, 0, right_turned}, by_rows ? 0 : words,
                 by_rows ? words : 0, words + common, out, blocks, by_rows, factor, keep, {0}};
    copy_strips(&job);
    share_in_pieces(multiply_pairs_part, &job, (strips_of(by_rows ? m : n) + 1) / 2, 1,
                    FEW_PRODUCTS / (2 * LINE * k * (by_rows ? n : m) + 1) + 1);
}

/* Let the processor fetch weights and their velocity, in the rows of two strips. */
INLINE void fetch(const Factors *f, int64_t at, int64_t tall) {
    for (int64_t r = 0; r < tall; r++, at += f->n)
        for (int64_t c = 0; c <= 2 * LINE; c += LINE) {
            __builtin_prefetch(f->out + at + c, 1);
            __builtin_prefetch(f->velocity + at + c, 1);
        }
}

/* Take a step of the rows of weights that belong to pairs of strips first to last of the left factor. */
AMX void step_pairs(const Tiled *t, int64_t first, int64_t last) {
    const Factors *f = &t->step;
    const int64_t size = t->blocks * LINE, rest = strips_of(t->right.size);
    float sums[(2 * LINE + STEP_ROWS) * 2 * LINE] __attribute__((aligned(64))); /* the last step reads further rows */
    begin_tiles();
    for (int64_t i = 2 * first; i < 2 * last; i += 2)
        for (int64_t j = 0; j < rest; j += 2) {
            const int64_t row = i * LINE, column = j * LINE;
            const int64_t tall = f->m - row < 2 * LINE ? f->m - row : 2 * LINE;
            const int64_t wide = f->n - column < 2 * LINE ? f->n - column : 2 * LINE;
            fetch(f, row * f->n + column, tall);
            multiply_pair(t, t->lefts + i * size, t->rights + j * size, i, j, sums);
            for (int64_t r = 0; r < tall; r += STEP_ROWS)
                step_tile_512(f, (const Vector_512(*)[2])(sums + r * 2 * LINE), (row + r) * f->n + column,
                              tall - r < STEP_ROWS ? tall - r : STEP_ROWS, wide);
        }
    end_tiles();
}

static void step_pairs_part(void *job, int64_t first, int64_t last, int slot) {
    (void)slot;
    step_pairs(job, first, last);
}

/* Do what `step_by_tiles` does, with factors rounded. `room` is aligned to 64 bytes and holds, in 32-bit words, half of
   k rounded up to 32, times m and n, each rounded up to 16. */
EXPORT void step_by_amx(const float *a, const float *b, float *w, float *velocity, void *room, float rate,
                        float momentum, float decay, float nesterov, int64_t m, int64_t k, int64_t n) {
    const int64_t blocks = blocks_of(k);
    Words *words = room;
    Tiled job = {{a, m, k, 1, 1}, {b, n, k, 0, 0}, words, words + strips_of(m) * blocks * LINE, 0, 0, blocks, 0, 1, 0,
                 {a, b, w, 0, 0, velocity, m, k, n, 0, rate, momentum, decay, nesterov}};
    copy_strips(&job);
    share_in_pieces(step_pairs_part, &job, (strips_of(m) + 1) / 2, 1, FEW_PRODUCTS / (2 * LINE * k * n + 1) + 1);
}

#endif
