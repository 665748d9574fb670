/* Products of float32 matrices whose factors are rounded to bfloat16, by AMX, the matrix unit of Intel's processors, or
by AVX512-BF16.

A word is a pair of bfloat16 numbers that are neighbours along the inner dimension. A strip is 16 rows of the left
factor, or 16 columns of the right one, in blocks of 16 words each way; it is rounded as it is copied. A tile register of
AMX holds a block, and one instruction adds the product of two blocks to 16 x 16 float32 sums. An instruction of
AVX512-BF16 adds the products of one word of the left factor and a row of a block of the right one to 16 sums.

Each thread copies the factor with fewer strips whole: what another processor has just written would have to be fetched
from there before each product. Strips of the other factor are divided among the threads, and weights into halves, as in
products.h. The inner dimension is summed in order: results do not depend on the number of threads. */

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__GLIBC__)

#include <sys/syscall.h>
#include <unistd.h>

#define HAS_ROUNDED
#define ASK_FOR_STATE 0x1023 /* ARCH_REQ_XCOMP_PERM */
#define TILE_DATA 18         /* XFEATURE_XTILEDATA */

/* Return whether the system allows these products; for AMX, ask it for tile registers in all threads. The caller has
   checked that the processor has the instructions. */
static int64_t allow_rounded(int64_t amx) {
    return HAS_AVX512 && (!amx || syscall(SYS_arch_prctl, ASK_FOR_STATE, TILE_DATA) == 0);
}

typedef uint32_t Words __attribute__((vector_size(64), may_alias));
typedef uint16_t Halves __attribute__((vector_size(64), may_alias));
typedef uint32_t UnalignedWords __attribute__((vector_size(64), aligned(4), may_alias));

#define ROUNDED static __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,fma,prfchw")))
#define PAIRS                                                                                                          \
    ((Halves){0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,                                            \
              8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31})
#define STEP_ROWS 10 /* rows of a tile of products.h */
#define LINE 16      /* rows of a block, and words of a row */
#define GROUP 8      /* rows whose sums AVX512-BF16 keeps in registers */

#define CLEAR(t) __asm__ volatile("tilezero %%tmm" #t :::)
#define LOAD(t, from) __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(from), "r"((int64_t)64) : "memory")
#define STORE(t, to) __asm__ volatile("tilestored %%tmm" #t ", (%0,%1,1)" ::"r"(to), "r"((int64_t)128) : "memory")
#define ADD_TILES(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum :::)
#define ADD_WORDS(sum, a, b) __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b))

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
    const int64_t ahead = along ? 4 * LINE : 8 * width;
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

/* Round and copy a block of a strip of a factor, from a place of the inner dimension on. */
INLINE void copy_part(const Side *s, int64_t strip, int64_t k, Words *out) {
    const int64_t at = strip * LINE;
    if (s->is_left && !s->turned)
        copy_block(s->numbers, s->size, s->depth, at, k, 1, 0, out);
    else if (s->is_left)
        copy_block(s->numbers, s->depth, s->size, k, at, 0, 1, out);
    else if (s->turned)
        copy_block(s->numbers, s->size, s->depth, at, k, 1, 1, out);
    else
        copy_block(s->numbers, s->depth, s->size, k, at, 0, 0, out);
}

/* Round and copy blocks of two strips of a factor, the second one if it exists: one after the other where they are rows
   of the matrix, else both at once, since their numbers are neighbours in each row. */
ROUNDED void copy_strips(const Side *s, int64_t strip, int64_t from, int64_t to, Words *out) {
    const int64_t n = (strip + 1) * LINE < s->size ? 2 : 1, blocks = blocks_of(s->depth);
    const int64_t together = s->is_left == s->turned ? n : 1;
    for (int64_t i = 0; i < n; i += together)
        for (int64_t k = from; k < to; k++)
            for (int64_t j = i; j < i + together; j++)
                copy_part(s, strip + j, k * 2 * LINE, out + (j * blocks + k) * LINE);
}

/* Multiply blocks of one or two strips of the left factor with those of one or two of the right one by AMX. The second
   strips lie `size` after the first ones; sums lie in rows of 32. */
INLINE void multiply_by_amx(const Words *a, const Words *b, int64_t size, int64_t blocks, int tall, int broad,
                            float *sums) {
    const Words *under = a + size, *beside = b + size;
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

/* Add to the sums of some rows the products of so many words of them with rows of one or two blocks. */
INLINE void add_words(const uint32_t *rows, const Words *b, const Words *beside, int64_t words, int tall, int broad,
                      Vector_512 sum[GROUP][2]) {
    for (int64_t word = 0; word < words; word++) {
        const Words left = b[word], right = broad ? beside[word] : left;
#pragma GCC unroll 8
        for (int i = 0; i < tall; i++) {
            const Words pair = rows[i * LINE + word] - (Words){0};
            ADD_WORDS(sum[i][0], pair, left);
            if (broad) ADD_WORDS(sum[i][1], pair, right);
        }
    }
}

/* Multiply some rows of a strip of the left factor with one or two strips of the right one, of so many words. */
INLINE void multiply_group(const uint32_t *rows, const Words *b, const Words *beside, int64_t words, int tall, int broad,
                           float *sums) {
    Vector_512 sum[GROUP][2];
    int64_t k = 0;
    for (int i = 0; i < GROUP; i++) sum[i][0] = sum[i][1] = (Vector_512){0};
    for (; k + LINE <= words; k += LINE, rows += LINE * LINE)
        add_words(rows, b + k, beside + k, LINE, tall, broad, sum);
    add_words(rows, b + k, beside + k, words - k, tall, broad, sum);
    memcpy(sums, sum, sizeof sum);
}

/* Do the same for up to 32 rows and so many words of them by AVX512-BF16. */
ROUNDED void multiply_by_lanes(const Words *a, const Words *b, int64_t size, int64_t words, int64_t tall, int broad,
                               float *sums) {
    for (int64_t i = 0; i < tall; i += GROUP, sums += GROUP * 2 * LINE) {
        const uint32_t *rows = (const uint32_t *)(a + i / LINE * size) + i % LINE * LINE;
        if (!broad)
            multiply_group(rows, b, b, words, GROUP, 0, sums);
        else if (tall - i > GROUP / 2)
            multiply_group(rows, b, b + size, words, GROUP, 1, sums);
        else
            multiply_group(rows, b, b + size, words, GROUP / 2, 1, sums);
    }
}

typedef struct {
    Side left, right;
    Words *room; /* of each thread, for two strips of the divided factor and all of the other one */
    int copied[MAX_THREADS]; /* halves of the other factor that a thread has copied, as bits */
    int64_t blocks, by_rows, amx;
    float *out, factor, keep;
    Factors step; /* weights and how they move, instead of `out` */
    float *lower;          /* as in products.h, where the right factor is divided */
    _Atomic int *complete;
} Rounded;

/* Return the side that is divided among the threads, or the other one. */
INLINE const Side *side_of(const Rounded *r, int divided) { return r->by_rows == divided ? &r->left : &r->right; }

/* Write sums of strips i and j, and the following ones, into a result; with those of the other half, if given. */
ROUNDED void write_sums(const Rounded *r, const float *restrict sums, int64_t i, int64_t j, float *result,
                        const float *other) {
    const int64_t n = r->right.size, row = i * LINE, column = j * LINE;
    const int64_t tall = r->left.size - row < 2 * LINE ? r->left.size - row : 2 * LINE;
    const int64_t wide = n - column < 2 * LINE ? n - column : 2 * LINE;
    float *out = result + row * n + column;
    if (other) other += row * n + column;
    for (int64_t k = 0; k < tall; k++, out += n, sums += 2 * LINE)
        for (int64_t c = 0; c < wide; c++)
            if (other)
                out[c] = sums[c] + other[k * n + c];
            else
                out[c] = r->keep == 0.0f ? r->factor * sums[c] : r->keep * out[c] + r->factor * sums[c];
}

/* Let the processor fetch weights and their velocity, in the rows of two strips. */
INLINE void fetch(const Factors *f, int64_t at, int64_t tall) {
    for (int64_t r = 0; r < tall; r++, at += f->n)
        for (int64_t c = 0; c <= 2 * LINE; c += LINE) {
            __builtin_prefetch(f->out + at + c, 1);
            __builtin_prefetch(f->velocity + at + c, 1);
        }
}

/* Take a step of a tile of the weights along sums of strips i and j, and the following ones. */
ROUNDED void step_sums(const Factors *f, const float *sums, int64_t i, int64_t j) {
    const int64_t row = i * LINE, column = j * LINE, wide = f->n - column < 2 * LINE ? f->n - column : 2 * LINE;
    const int64_t tall = f->m - row < 2 * LINE ? f->m - row : 2 * LINE;
    for (int64_t r = 0; r < tall; r += STEP_ROWS)
        step_tile_512(f, (const Vector_512(*)[2])(sums + r * 2 * LINE), (row + r) * f->n + column,
                      tall - r < STEP_ROWS ? tall - r : STEP_ROWS, wide);
}

/* Compute the sums of strips i and i + 1 of the left factor and j and j + 1 of the right one, and use them. */
INLINE void multiply_pair(const Rounded *r, const Words *a, const Words *b, int64_t i, int64_t j, const Half *h,
                          float *sums) {
    const int64_t rows = r->left.size - i * LINE, tall = rows < 2 * LINE ? rows : 2 * LINE, size = r->blocks * LINE;
    const int64_t words = (h->to == r->blocks ? (r->left.depth + 1) / 2 : h->to * LINE) - h->from * LINE;
    const int broad = (j + 1) * LINE < r->right.size;
    if (!r->out) fetch(&r->step, i * LINE * r->step.n + j * LINE, tall);
    a += h->from * LINE;
    b += h->from * LINE;
    if (r->amx)
        multiply_by_amx(a, b, size, h->to - h->from, tall > LINE, broad, sums);
    else
        multiply_by_lanes(a, b, size, words, tall, broad, sums);
    if (r->out)
        write_sums(r, sums, i, j, h->other ? r->out : h->own, h->other);
    else
        step_sums(&r->step, sums, i, j);
}

/* Multiply a pair of strips of the divided factor with all strips of the other one. */
INLINE void multiply_strips(Rounded *r, int64_t p, const Half *h, Words *own, float *sums) {
    const int64_t size = r->blocks * LINE, n = strips_of(side_of(r, 0)->size);
    Words *other = own + 2 * size;
    copy_strips(side_of(r, 1), p, h->from, h->to, own);
    for (int64_t q = 0; q < n; q += 2)
        if (r->by_rows)
            multiply_pair(r, own, other + q * size, p, q, h, sums);
        else
            multiply_pair(r, other + q * size, own, q, p, h, sums);
}

/* Copy a range of blocks of the factor that is not divided, unless this thread has done it. */
INLINE void copy_other(Rounded *r, const Half *h, int slot, Words *out) {
    const int half = h->from ? 2 : h->to < r->blocks ? 1 : 3;
    const Side *side = side_of(r, 0);
    if ((r->copied[slot] & half) == half) return;
    for (int64_t q = 0; q < strips_of(side->size); q += 2) copy_strips(side, q, h->from, h->to, out + q * r->blocks * LINE);
    r->copied[slot] |= half;
}

/* Multiply pairs of strips first to last of the divided factor, or of both halves of the right one. */
static void multiply_rounded_part(void *job, int64_t first, int64_t last, int slot) {
    Rounded *r = job;
    const int64_t size = r->blocks * LINE, n = (strips_of(side_of(r, 1)->size) + 1) / 2;
    float sums[(2 * LINE + STEP_ROWS) * 2 * LINE] __attribute__((aligned(64))); /* the last step reads further rows */
    Words *own = r->room + (strips_of(side_of(r, 0)->size) + 2) * size * slot;
    if (r->amx) begin_tiles();
    for (int64_t unit = first; unit < last; unit++) {
        const Half half = half_of(unit, n, r->blocks, r->out, r->lower, r->complete);
        const Factors both = {.out = r->out, .lower = r->lower, .m = r->left.size, .n = r->right.size};
        copy_other(r, &half, slot, own + 2 * size);
        multiply_strips(r, 2 * half.panel, &half, own, sums);
        if (must_add(&half, r->complete)) add_halves_512(&both, 2 * half.panel * LINE);
    }
    if (r->amx) end_tiles();
}

static void multiply_rounded_on(Rounded *r, int64_t threads) {
    const int64_t size = 2 * LINE * r->left.depth * side_of(r, 0)->size; /* multiplications of a pair of strips */
    const int64_t n = (strips_of(side_of(r, 1)->size) + 1) / 2;
    share_among(multiply_rounded_part, r, r->complete ? 2 * n : n, threads, FEW_PRODUCTS / (size + 1) + 1);
}

/* Write keep * out + factor * left right, of m x k and k x n numbers, by AMX or AVX512-BF16. `room` is aligned to 64 bytes
   and holds, for each of at most `threads` threads, half of k rounded up to 32 32-bit words, times the smaller of m and n
   rounded up to 16, and 32. `lower` is as large as the product. */
static void multiply_rounded(int64_t amx, const float *left, int64_t left_turned, const float *right,
                             int64_t right_turned, void *room, int64_t threads, float *out, float *lower, int64_t m,
                             int64_t k, int64_t n, float factor, float keep) {
    const int64_t pairs = (strips_of(n) + 1) / 2, by_rows = m > n;
    _Atomic int complete[MOST_PANELS];
    Rounded job = {{left, m, k, 1, left_turned}, {right, n, k, 0, right_turned}, room, {0}, blocks_of(k), by_rows, amx,
                   out, factor, keep, {0}, lower, 0};
    if (!by_rows && !right_turned && k >= 2 * LOW && pairs <= MOST_PANELS && factor == 1.0f && keep == 0.0f) {
        for (int64_t p = 0; p < pairs; p++) atomic_init(complete + p, 0);
        job.complete = complete;
    }
    multiply_rounded_on(&job, threads);
}

/* Do what `step_by_tiles` does, with factors rounded. `room` is that of `multiply_rounded`, with n in place of the smaller
   number. */
static void step_rounded(int64_t amx, const float *a, const float *b, float *w, float *velocity, void *room,
                         int64_t threads, float rate, float momentum, float decay, float nesterov, int64_t m,
                         int64_t k, int64_t n) {
    Rounded job = {{a, m, k, 1, 1}, {b, n, k, 0, 0}, room, {0}, blocks_of(k), 1, amx, 0, 0, 0,
                   {a, b, w, 0, 0, velocity, m, k, n, 0, 0, rate, momentum, decay, nesterov, 0, 0}, 0, 0};
    multiply_rounded_on(&job, threads);
}

#endif
