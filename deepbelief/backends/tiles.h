/* Products for one width of vectors. products.h includes this file once for each width.

It defines WIDTH, the bytes of a vector; TALL and SHORT, the rows of a tile and of a lower one; SLOWER, by how many per
cent a row of the lower one takes longer; PANELS, the values of the panels that a step reads for all rows; TILED, the
attributes of a function; and NAMED, its name. */

typedef float NAMED(Vector) __attribute__((vector_size(WIDTH), may_alias));
typedef float NAMED(Unaligned) __attribute__((vector_size(WIDTH), aligned(4), may_alias));

typedef int32_t NAMED(Order) __attribute__((vector_size(WIDTH)));

#define Vector NAMED(Vector)
#define Unaligned NAMED(Unaligned)
#define LANE (WIDTH / 4)
#define BROAD (2 * LANE)

/* Add a row of a panel, times one value of each row of a tile, to the sums of the tile. */
INLINE void NAMED(add_values)(const float *const rows[TALL], int64_t at, const Vector columns[2], int tall, int broad,
                              Vector sum[TALL][2]) {
#pragma GCC unroll 12
    for (int i = 0; i < tall; i++) {
        const Vector factor = rows[i][at] - (Vector){0};
        sum[i][0] += factor * columns[0];
        if (broad) sum[i][1] += factor * columns[1];
    }
}

/* Add four rows of a panel, times values of each row of a tile that are `step` apart, to the sums of the tile. If they are
   TALL apart, the tile has TALL adjacent rows and two vectors of columns. */
INLINE void NAMED(add_four)(const float *const rows[TALL], int64_t at, int step, const float *panel, int tall, int broad,
                            Vector sum[TALL][2]) {
#ifdef ADD_FOUR
    if (step == TALL) {
        ADD_FOUR(sum, rows[0] + at, panel);
        return;
    }
#endif
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        NAMED(add_values)(rows, at + k * step, (const Vector *)(panel + k * BROAD), tall, broad, sum);
}

/* Compute a tile: these rows times a panel, or the first vector of its columns.
   Meanwhile the processor fetches two cache lines after `next`, and then after places that are `width` apart: one for
   eight rows of the panel. */
INLINE void NAMED(multiply_tile)(const float *const rows[TALL], const float *restrict panel, int64_t depth, int tall,
                                 int broad, const float *next, int64_t width, Vector tile[TALL][2]) {
    Vector sum[TALL][2];
    for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (Vector){0};
    int64_t k = 0;
    for (; k + 8 <= depth; next += width) {
        __builtin_prefetch(next + 16, 0, 2);
        __builtin_prefetch(next + 32, 0, 2);
        if (tall == TALL) { /* twice as much code would not stay in the cache of decoded instructions */
#pragma GCC unroll 1
            for (int part = 0; part < 8; part += 4)
                NAMED(add_four)(rows, k + part, 1, panel + part * BROAD, tall, broad, sum);
        } else {
            NAMED(add_four)(rows, k, 1, panel, tall, broad, sum);
            NAMED(add_four)(rows, k + 4, 1, panel + 4 * BROAD, tall, broad, sum);
        }
        k += 8;
        panel += 8 * BROAD;
    }
    for (; k < depth; k++, panel += BROAD) NAMED(add_values)(rows, k, (const Vector *)panel, tall, broad, sum);
    memcpy(tile, sum, sizeof sum);
}

/* Compute a tile of these rows times columns of x, and copy these columns into a panel. */
INLINE void NAMED(multiply_and_copy)(const float *const rows[TALL], const float *restrict x, int64_t width,
                                     float *restrict panel, int64_t depth, int tall, Vector tile[TALL][2]) {
    Vector sum[TALL][2];
    for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (Vector){0};
    for (int64_t k = 0; k < depth; k++, x += width) {
        const Vector columns[2] = {((const Unaligned *)x)[0], ((const Unaligned *)x)[1]};
        __builtin_prefetch(x + 2 * AHEAD * width);
        __builtin_prefetch(x + 2 * AHEAD * width + LANE);
        ((Vector *)(panel + k * BROAD))[0] = columns[0];
        ((Vector *)(panel + k * BROAD))[1] = columns[1];
        NAMED(add_values)(rows, k, columns, tall, 1, sum);
    }
    memcpy(tile, sum, sizeof sum);
}

/* Find the starts of TALL rows from `first` on; the last row replaces rows beyond the end. */
INLINE void NAMED(find_rows)(const float *x, int64_t first, int64_t n, int64_t width, const float *rows[TALL]) {
    for (int i = 0; i < TALL; i++) rows[i] = x + (first + i < n ? first + i : n - 1) * width;
}

/* Copy columns of x from `first` on into a panel; 0 beyond the last column. */
INLINE void NAMED(copy_columns)(const float *restrict x, int64_t depth, int64_t width, int64_t first,
                                float *restrict panel) {
    const int64_t n = width - first < BROAD ? width - first : BROAD;
    for (int64_t k = 0; k < depth; k++, panel += BROAD) {
        const float *restrict row = x + k * width + first;
        __builtin_prefetch(row + 2 * AHEAD * width);
        __builtin_prefetch(row + 2 * AHEAD * width + BROAD - 1);
        __builtin_prefetch(panel + 2 * AHEAD * BROAD, 1);
        if (n >= BROAD) {
            ((Vector *)panel)[0] = ((const Unaligned *)row)[0];
            ((Vector *)panel)[1] = ((const Unaligned *)row)[1];
        } else {
            for (int64_t j = 0; j < BROAD; j++) panel[j] = j < n ? row[j] : 0.0f;
        }
    }
}

/* Transpose a square of values in registers. */
INLINE void NAMED(transpose)(Vector square[LANE]) {
    NAMED(Order) lane;
    for (int l = 0; l < LANE; l++) lane[l] = l;
#pragma GCC unroll 4
    for (int d = 1; d < LANE; d *= 2) {
        const NAMED(Order) odd = (lane & d) != 0; /* all bits are 1 where it is true */
        const NAMED(Order) low = lane + (odd & (LANE - d)), high = lane + d + (odd & (LANE - d));
#pragma GCC unroll 16
        for (int i = 0; i < LANE; i++) {
            if (i & d) continue;
            const Vector a = square[i], b = square[i + d];
            square[i] = __builtin_shuffle(a, b, low);
            square[i + d] = __builtin_shuffle(a, b, high);
        }
    }
}

/* Copy rows of x from `first` on into the columns of a panel; the last row replaces rows beyond the end. */
INLINE void NAMED(turn_rows)(const float *restrict x, int64_t depth, int64_t n, int64_t width, int64_t first,
                             float *restrict panel) {
    for (int side = 0; side < 2; side++, panel += LANE) {
        const float *rows[LANE];
        for (int i = 0; i < LANE; i++) {
            const int64_t row = first + side * LANE + i;
            rows[i] = x + (row < n ? row : n - 1) * width;
        }
        int64_t k = 0;
        for (; k + LANE <= depth; k += LANE) {
            Vector square[LANE];
            for (int i = 0; i < LANE; i++) square[i] = *(const Unaligned *)(rows[i] + k);
            NAMED(transpose)(square);
            for (int i = 0; i < LANE; i++) *(Vector *)(panel + (k + i) * BROAD) = square[i];
        }
        for (; k < depth; k++)
            for (int i = 0; i < LANE; i++) panel[k * BROAD + i] = rows[i][k];
    }
}

/* Write a tile and the partial sums that belong to it. */
INLINE void NAMED(write_tile)(const Vector tile[TALL][2], const TileSums *s, int64_t at, int64_t width, int64_t tall,
                              int64_t wide) {
    const float *before = s->before ? s->before + at : 0, *other = s->other ? s->other + at : 0;
    float *out = s->out + at;
    if (wide < BROAD) {
        float values[TALL][BROAD];
        memcpy(values, tile, sizeof values);
        for (int64_t i = 0; i < tall; i++)
            for (int64_t j = 0; j < wide; j++) {
                float sum = values[i][j];
                if (before) sum += before[i * width + j];
                if (other) sum += other[i * width + j];
                out[i * width + j] = sum;
            }
        return;
    }
#pragma GCC unroll 12
    for (int i = 0; i < TALL; i++) {
        if (i >= tall) break;
        for (int side = 0; side < 2; side++) {
            Vector sum = tile[i][side];
            if (before) sum += ((const Unaligned *)(before + i * width))[side];
            if (other) sum += ((const Unaligned *)(other + i * width))[side];
            ((Unaligned *)(out + i * width))[side] = sum;
        }
    }
}

/* Let the processor fetch the places of a tile whose other half has been summed, perhaps by another processor. */
INLINE void NAMED(fetch_sums)(const TileSums *s, int64_t at, int64_t width, int64_t tall) {
    for (int64_t i = 0; i < tall; i++, at += width)
        for (int64_t j = 0; j < BROAD; j += 16) {
            __builtin_prefetch(s->other + at + j);
            __builtin_prefetch(s->out + at + j, 1);
        }
}

/* Return how many tall tiles, followed by low ones, multiply this number of rows in the least time. */
static int64_t NAMED(count_tall)(int64_t m) {
    int64_t best = 0, least = INT64_MAX;
    for (int64_t n = (m + TALL - 1) / TALL; n >= 0; n--) {
        const int64_t rest = m > n * TALL ? m - n * TALL : 0;
        const int64_t time = 100 * TALL * n + (100 + SLOWER) * SHORT * ((rest + SHORT - 1) / SHORT);
        if (time < least) best = n, least = time;
    }
    return best;
}

/* Multiply rows `first` to `last` of a, `tall` at a time, with a panel of so many rows of b from `top` on. If `fused`,
   the panel is copied with the first of these rows. */
INLINE void NAMED(multiply_rows)(const Factors *f, float *panel, int64_t top, int64_t depth, int64_t column,
                                 int64_t first, int64_t last, int tall, int broad, int fused, const float *next,
                                 int64_t fetched, const TileSums *sums) {
    const int64_t wide = f->n - column < BROAD ? f->n - column : BROAD;
    for (int64_t i = first; i < last; i += tall) {
        const float *rows[TALL];
        const int64_t at = i * f->n + column, some = last - i < tall ? last - i : tall;
        Vector tile[TALL][2];
        NAMED(find_rows)(f->a + top, i, f->m, f->k, rows);
        if (sums->other) NAMED(fetch_sums)(sums, at, f->n, some);
        if (i == first && fused) {
            NAMED(multiply_and_copy)(rows, f->b + top * f->n + column, f->n, panel, depth, tall, tile);
        } else {
            NAMED(multiply_tile)(rows, panel, depth, tall, broad, next, fetched, tile);
            next += depth / 8 * fetched;
        }
        NAMED(write_tile)(tile, sums, at, f->n, some, wide);
    }
}

/* Multiply all rows of a, by so many tall tiles and then low ones, with a panel of columns of b: those of a part of its
   rows from `top` on. */
INLINE void NAMED(multiply_panel)(const Factors *f, float *panel, int64_t top, int64_t depth, int64_t column,
                                  int64_t n_tall, int broad, const TileSums *sums) {
    const float *b = f->turned ? f->b + top : f->b + top * f->n;
    const int64_t low_from = n_tall * TALL < f->m ? n_tall * TALL : f->m;
    /* What the next panel is made of: other rows of these columns, the next columns, or as many rows as it has columns. */
    const float *next = top + depth < f->k ? b + depth * f->n + column : f->b + column + BROAD;
    int64_t fetched = f->n;
    if (f->turned) {
        next = b + (column + BROAD) * f->k - 16;
        fetched = depth == f->k ? (8 * BROAD * (n_tall ? TALL : SHORT) + f->m - 1) / f->m : 0;
    }
    const int fused = !f->turned && f->n - column >= BROAD;
    if (f->turned)
        NAMED(turn_rows)(b, depth, f->n, f->k, column, panel);
    else if (!fused)
        NAMED(copy_columns)(b, depth, f->n, column, panel);
    NAMED(multiply_rows)(f, panel, top, depth, column, 0, low_from, TALL, broad, fused, next, fetched, sums);
    next += (low_from / TALL - (fused && n_tall)) * (depth / 8) * fetched;
    NAMED(multiply_rows)(f, panel, top, depth, column, low_from, f->m, SHORT, broad, fused && !n_tall, next, fetched,
                         sums);
}

/* Write the product of a with rows and columns of b. */
INLINE void NAMED(multiply_half)(const Factors *f, const Half *h, float *panel) {
    const int64_t parts = (h->to - h->from + DEEP - 1) / DEEP, deep = (h->to - h->from + parts - 1) / parts;
    const int64_t column = h->panel * BROAD;
    for (int64_t top = h->from; top < h->to; top += deep) {
        const int64_t depth = h->to - top < deep ? h->to - top : deep;
        const float *rest = top + depth == h->to ? h->other : 0;
        const TileSums sums = {rest ? f->out : h->own, top > h->from ? h->own : 0, rest};
        if (f->n - column <= LANE)
            NAMED(multiply_panel)(f, panel, top, depth, column, (f->m + TALL - 1) / TALL, 0, &sums);
        else
            NAMED(multiply_panel)(f, panel, top, depth, column, f->n_tall, 1, &sums);
    }
}

/* Add the sums of the lower half of b to those of its upper half, in a panel of columns. */
TILED void NAMED(add_halves)(const Factors *f, int64_t column) {
    const int64_t wide = f->n - column < BROAD ? f->n - column : BROAD;
    float *restrict out = f->out + column;
    const float *restrict lower = f->lower + column;
    for (int64_t i = 0; i < f->m; i++, out += f->n, lower += f->n)
        for (int64_t j = 0; j < wide; j++) out[j] += lower[j];
}

/* Compute panels `first` to `last` of the columns of out = a b, or of both halves of b. */
TILED void NAMED(multiply_panels)(const Factors *f, int64_t first, int64_t last) {
    float panel[DEEP * BROAD] __attribute__((aligned(64)));
    const int64_t n = (f->n + BROAD - 1) / BROAD;
    for (int64_t unit = first; unit < last; unit++) {
        const Half half = half_of(unit, n, f->k, f->out, f->lower, f->complete);
        NAMED(multiply_half)(f, &half, panel);
        if (must_add(&half, f->complete)) NAMED(add_halves)(f, half.panel * BROAD);
    }
}

static void NAMED(multiply_part)(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    NAMED(multiply_panels)(job, a, b);
}

static void NAMED(multiply)(Factors job) {
    const int64_t n = (job.n + BROAD - 1) / BROAD, divided = !job.turned && job.k >= 2 * LOW && n <= MOST_PANELS;
    _Atomic int complete[MOST_PANELS];
    job.n_tall = NAMED(count_tall)(job.m);
    for (int64_t p = 0; divided && p < n; p++) atomic_init(complete + p, 0);
    if (divided) job.complete = complete;
    share_in_pieces(NAMED(multiply_part), &job, divided ? 2 * n : n, 1,
                    FEW_PRODUCTS / (job.m * (divided ? job.k / 2 : job.k) * BROAD + 1) + 1);
}

/* Copy columns of b into panels a to b. */
TILED void NAMED(copy_panels)(const Factors *f, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++)
        NAMED(copy_columns)(f->b, f->k, f->n, p * BROAD, f->panels + p * BROAD * f->k);
}

static void NAMED(copy_part)(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    NAMED(copy_panels)(job, a, b);
}

/* Compute a tile of the gradient, and let the processor fetch the same tile of the weights and of their velocity. */
INLINE void NAMED(multiply_and_fetch)(const Factors *f, int64_t at, int64_t tall, const float *const rows[TALL],
                                      const float *restrict panel, Vector tile[TALL][2]) {
    Vector sum[TALL][2];
    for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (Vector){0};
    const int64_t lines = WIDTH / 32 + 1, some = tall * lines;
    const float *w = f->out + at, *velocity = f->velocity + at;
    int64_t k = 0;
    for (; k < some && k + 4 <= f->k; k += 4, panel += 4 * BROAD) {
        for (int64_t part = k; part < k + 4; part++) {
            const int64_t line = part / lines * f->n + part % lines * 16;
            __builtin_prefetch(w + line, 1);
            __builtin_prefetch(velocity + line, 1);
        }
        NAMED(add_four)(rows, k * TALL, TALL, panel, TALL, 1, sum);
    }
    for (; k + 4 <= f->k; k += 4, panel += 4 * BROAD) {
        for (int at = 0; at < 4 * BROAD; at += 16) __builtin_prefetch(panel + AHEAD * BROAD + at);
        NAMED(add_four)(rows, k * TALL, TALL, panel, TALL, 1, sum);
    }
    for (; k < f->k; k++, panel += BROAD) NAMED(add_values)(rows, k * TALL, (const Vector *)panel, TALL, 1, sum);
    memcpy(tile, sum, sizeof sum);
}

/* Take a step of a tile of the weights, whose gradient is given. */
INLINE void NAMED(step_tile)(const Factors *f, const Vector tile[TALL][2], int64_t at, int64_t tall, int64_t wide) {
    float *w = f->out + at, *velocity = f->velocity + at;
    if (wide < BROAD) {
        float grad[TALL][BROAD];
        memcpy(grad, tile, sizeof grad);
        for (int64_t i = 0; i < tall; i++)
            momentum_values(w + i * f->n, velocity + i * f->n, grad[i], f->rate, f->momentum, f->decay, f->nesterov, wide);
        return;
    }
    const float along = f->nesterov != 0.0f ? f->momentum : 1.0f, across = f->nesterov != 0.0f ? 1.0f : 0.0f;
#pragma GCC unroll 12
    for (int i = 0; i < TALL; i++, w += f->n, velocity += f->n) {
        if (i >= tall) break;
        Unaligned *weights = (Unaligned *)w, *speed = (Unaligned *)velocity;
        for (int side = 0; side < 2; side++) {
            const Vector step = f->rate * tile[i][side] + f->decay * weights[side];
            const Vector v = f->momentum * speed[side] - step;
            speed[side] = v;
            weights[side] += along * v - across * step;
        }
    }
}

/* Copy columns of a, TALL from `row` on, so that the values of a row lie together; 0 beyond the last column. */
INLINE void NAMED(turn_columns)(const Factors *f, int64_t row, int64_t tall, float *restrict out) {
    const float *restrict a = f->a + row;
    for (int64_t k = 0; k < f->k; k++, a += f->m, out += TALL) {
        if (tall == TALL)
            memcpy(out, a, TALL * sizeof *out);
        else
            for (int i = 0; i < TALL; i++) out[i] = i < tall ? a[i] : 0.0f;
    }
}

/* Let the processor fetch columns of a that the next rows of weights need, in a part of its rows. */
INLINE void NAMED(fetch_columns)(const Factors *f, int64_t row, int64_t part, int64_t parts) {
    const float *a = f->a + (row + 2 * TALL <= f->m ? row + 2 * TALL : f->m) - 1;
    for (int64_t k = f->k * part / parts; k < f->k * (part + 1) / parts; k++) __builtin_prefetch(a + k * f->m);
}

/* Take a step of rows TALL first to TALL last of the weights, in some columns at a time. */
TILED void NAMED(step_tiles)(const Factors *f, int64_t first, int64_t last) {
    const int64_t size = TALL * f->k, panels = PANELS / (BROAD * f->k), strip = (panels > 0 ? panels : 1) * BROAD;
    const int64_t parts = ((strip < f->n ? strip : f->n) + BROAD - 1) / BROAD;
    for (int64_t from = 0; from < f->n; from += strip)
        for (int64_t p = first; p < last; p++) {
            const int64_t row = p * TALL, tall = f->m - row < TALL ? f->m - row : TALL;
            const float *rows[TALL];
            for (int i = 0; i < TALL; i++) rows[i] = f->left + p * size + i;
            if (from == 0) NAMED(turn_columns)(f, row, tall, f->left + p * size);
            for (int64_t j = from; j < from + strip && j < f->n; j += BROAD) {
                Vector tile[TALL][2];
                if (from == 0) NAMED(fetch_columns)(f, row, j / BROAD, parts);
                NAMED(multiply_and_fetch)(f, row * f->n + j, tall, rows, f->panels + j * f->k, tile);
                NAMED(step_tile)(f, tile, row * f->n + j, tall, f->n - j < BROAD ? f->n - j : BROAD);
            }
        }
}

static void NAMED(step_part)(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    NAMED(step_tiles)(job, a, b);
}

static void NAMED(step_along)(Factors job) {
    share_in_pieces(NAMED(copy_part), &job, (job.n + BROAD - 1) / BROAD, 1, FEW / (BROAD * job.k + 1) + 1);
    share_in_pieces(NAMED(step_part), &job, (job.m + TALL - 1) / TALL, 2,
                    FEW_PRODUCTS / (job.n * job.k * TALL + 1) + 1);
}

#undef Vector
#undef Unaligned
#undef LANE
#undef BROAD
#undef NAMED
#undef TILED
#undef TALL
#undef SHORT
#undef SLOWER
#undef PANELS
#undef WIDTH
