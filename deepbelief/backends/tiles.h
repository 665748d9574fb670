/* Products for one width of vectors. products.h includes this file once for each width.

It defines WIDTH, the bytes of a vector; TALL, the rows of a tile; DEEP, the part of the inner dimension of a panel;
PANELS, the values of the panels that a step reads for all rows; TILED, the attributes of a function; and NAMED, its
name. */

typedef float NAMED(Vector) __attribute__((vector_size(WIDTH), may_alias));
typedef float NAMED(Unaligned) __attribute__((vector_size(WIDTH), aligned(4), may_alias));

#define Vector NAMED(Vector)
#define Unaligned NAMED(Unaligned)
#define LANE (WIDTH / 4)
#define BROAD (2 * LANE)

/* Add rows k of a panel, times these rows' values k, to the sums of a tile. */
INLINE void NAMED(add_values)(const float *const rows[TALL], int64_t at, const Vector columns[2], int broad,
                              Vector sum[TALL][2]) {
#pragma GCC unroll 12
    for (int i = 0; i < TALL; i++) {
        const Vector factor = rows[i][at] - (Vector){0};
        sum[i][0] += factor * columns[0];
        if (broad) sum[i][1] += factor * columns[1];
    }
}

/* Compute a tile: these rows times a panel, or the first vector of its columns.
   Meanwhile the processor fetches columns of a matrix from `next` on: one row of it during eight of the panel. */
INLINE void NAMED(multiply_tile)(const float *const rows[TALL], const float *restrict panel,
                                 int64_t depth, int broad, const float *next, int64_t width, Vector tile[TALL][2]) {
    const Vector *columns = (const Vector *)panel;
    Vector sum[TALL][2];
    for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (Vector){0};
    int64_t k = 0;
    for (; k + 8 <= depth; next += width) {
        __builtin_prefetch(next + 16, 0, 2);
        __builtin_prefetch(next + 32, 0, 2);
#pragma GCC unroll 4
        for (int part = 0; part < 8; part++, k++, columns += 2) {
            __builtin_prefetch(columns + 2 * AHEAD);
            __builtin_prefetch(columns + 2 * AHEAD + 1);
            NAMED(add_values)(rows, k, columns, broad, sum);
        }
    }
    for (; k < depth; k++, columns += 2) NAMED(add_values)(rows, k, columns, broad, sum);
    memcpy(tile, sum, sizeof sum);
}

/* Compute a tile of these rows times columns of x, and copy these columns into a panel. */
INLINE void NAMED(multiply_and_copy)(const float *const rows[TALL], const float *restrict x, int64_t width,
                                     float *restrict panel, int64_t depth, Vector tile[TALL][2]) {
    Vector sum[TALL][2];
    for (int i = 0; i < TALL; i++) sum[i][0] = sum[i][1] = (Vector){0};
    for (int64_t k = 0; k < depth; k++, x += width) {
        const Vector columns[2] = {((const Unaligned *)x)[0], ((const Unaligned *)x)[1]};
        __builtin_prefetch(x + 2 * AHEAD * width);
        __builtin_prefetch(x + 2 * AHEAD * width + LANE);
        ((Vector *)(panel + k * BROAD))[0] = columns[0];
        ((Vector *)(panel + k * BROAD))[1] = columns[1];
        NAMED(add_values)(rows, k, columns, 1, sum);
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
        if (n >= BROAD) {
            ((Vector *)panel)[0] = ((const Unaligned *)row)[0];
            ((Vector *)panel)[1] = ((const Unaligned *)row)[1];
        } else {
            for (int64_t j = 0; j < BROAD; j++) panel[j] = j < n ? row[j] : 0.0f;
        }
    }
}

/* Write a tile, or add it to a partial sum. */
INLINE void NAMED(write_tile)(const Vector tile[TALL][2], float *out, int64_t width, int64_t tall, int64_t wide,
                              int adds) {
    if (wide < BROAD) {
        float values[TALL][BROAD];
        memcpy(values, tile, sizeof values);
        for (int64_t i = 0; i < tall; i++, out += width)
            for (int64_t j = 0; j < wide; j++) out[j] = adds ? out[j] + values[i][j] : values[i][j];
        return;
    }
#pragma GCC unroll 12
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

/* Compute panels `first` to `last` of the columns of out = a b. */
TILED void NAMED(multiply_panels)(const Factors *f, int64_t first, int64_t last) {
    float panel[DEEP * BROAD] __attribute__((aligned(64)));
    const int64_t parts = (f->k + DEEP - 1) / DEEP, deep = (f->k + parts - 1) / parts;
    for (int64_t p = first; p < last; p++)
        for (int64_t top = 0; top < f->k; top += deep) {
            const int64_t depth = f->k - top < deep ? f->k - top : deep;
            const int64_t column = p * BROAD, wide = f->n - column < BROAD ? f->n - column : BROAD;
            const float *b = f->b + top * f->n;
            const float *next = top + deep < f->k ? b + deep * f->n + column : f->b + column + BROAD;
            if (wide < BROAD) NAMED(copy_columns)(b, depth, f->n, column, panel);
            for (int64_t i = 0; i < f->m; i += TALL) {
                const float *rows[TALL];
                Vector tile[TALL][2];
                NAMED(find_rows)(f->a + top, i, f->m, f->k, rows);
                if (i || wide < BROAD)
                    NAMED(multiply_tile)(rows, panel, depth, 1, next + (i / TALL - 1) * (depth / 8) * f->n, f->n, tile);
                else
                    NAMED(multiply_and_copy)(rows, b + column, f->n, panel, depth, tile);
                const int64_t tall = f->m - i < TALL ? f->m - i : TALL;
                NAMED(write_tile)(tile, f->out + i * f->n + column, f->n, tall, wide, top > 0);
            }
        }
}

static void NAMED(multiply_part)(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    NAMED(multiply_panels)(job, a, b);
}

static void NAMED(multiply)(Factors job) {
    share_in_pieces(NAMED(multiply_part), &job, (job.n + BROAD - 1) / BROAD, 1,
                    FEW_PRODUCTS / (job.m * job.k * BROAD + 1) + 1);
}

/* Copy rows of a into panels first to last, transposed; 0 beyond the last row. */
TILED void NAMED(turn_panels)(const Factors *f, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++) {
        float *restrict panel = f->panels + p * BROAD * f->depth;
        const float *restrict a = f->a + p * BROAD * f->k + f->top;
        const int64_t n = f->m - p * BROAD < BROAD ? f->m - p * BROAD : BROAD;
        for (int64_t k = 0; k < f->depth; k++)
            for (int64_t j = 0; j < BROAD; j++) panel[k * BROAD + j] = j < n ? a[j * f->k + k] : 0.0f;
    }
}

static void NAMED(turn_part)(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    NAMED(turn_panels)(job, a, b);
}

/* Write a transposed tile, or add it to a partial sum. */
INLINE void NAMED(write_turned)(const Vector tile[TALL][2], float *out, int64_t width, int64_t tall, int64_t wide,
                                int adds) {
    float values[TALL][BROAD];
    memcpy(values, tile, sizeof values);
    if (adds || tall < TALL || wide % 4) {
        for (int64_t j = 0; j < wide; j++, out += width)
            for (int64_t r = 0; r < tall; r++) out[r] = adds ? out[r] + values[r][j] : values[r][j];
        return;
    }
    for (int64_t j = 0; j < wide; j += 4, out += 4 * width)
#pragma GCC unroll 3
        for (int r = 0; r < TALL; r += 4) {
            const int row = r < TALL - 4 ? r : TALL - 4; /* the last rows are written twice */
            const Four *a = (const Four *)&values[row][j], *b = (const Four *)&values[row + 1][j];
            const Four *c = (const Four *)&values[row + 2][j], *d = (const Four *)&values[row + 3][j];
            const Four ab = __builtin_shuffle(*a, *b, LOW), AB = __builtin_shuffle(*a, *b, HIGH);
            const Four cd = __builtin_shuffle(*c, *d, LOW), CD = __builtin_shuffle(*c, *d, HIGH);
            *(Four *)(out + row) = __builtin_shuffle(ab, cd, FIRST);
            *(Four *)(out + width + row) = __builtin_shuffle(ab, cd, SECOND);
            *(Four *)(out + 2 * width + row) = __builtin_shuffle(AB, CD, FIRST);
            *(Four *)(out + 3 * width + row) = __builtin_shuffle(AB, CD, SECOND);
        }
}

/* Compute columns TALL first to TALL last of the product of a and the transposed b, or add a part of the inner
   dimension. */
TILED void NAMED(multiply_turned)(const Factors *f, int64_t first, int64_t last) {
    for (int64_t p = first; p < last; p++) {
        const int64_t column = p * TALL, tall = f->n - column < TALL ? f->n - column : TALL;
        const float *rows[TALL];
        NAMED(find_rows)(f->b + f->top, column, f->n, f->k, rows);
        for (int64_t i = 0; i < f->m; i += BROAD) {
            const int64_t wide = f->m - i < BROAD ? f->m - i : BROAD;
            Vector tile[TALL][2];
            float *out = f->out + i * f->n + column;
            for (int64_t j = 0; j < wide; j++) __builtin_prefetch(out + j * f->n, 1);
            if (wide > LANE)
                NAMED(multiply_tile)(rows, f->panels + i * f->depth, f->depth, 1, out, 0, tile);
            else
                NAMED(multiply_tile)(rows, f->panels + i * f->depth, f->depth, 0, out, 0, tile);
            NAMED(write_turned)(tile, out, f->n, tall, wide, f->top > 0);
        }
    }
}

static void NAMED(multiply_turned_part)(void *job, int64_t a, int64_t b, int slot) {
    (void)slot;
    NAMED(multiply_turned)(job, a, b);
}

static void NAMED(multiply_by_turned)(Factors job) {
    const int64_t parts = (job.k + DEEP_TURNED - 1) / DEEP_TURNED, deep = (job.k + parts - 1) / parts;
    for (job.top = 0; job.top < job.k; job.top += deep) {
        job.depth = job.k - job.top < deep ? job.k - job.top : deep;
        share_in_pieces(NAMED(turn_part), &job, (job.m + BROAD - 1) / BROAD, 1, FEW / (BROAD * job.depth + 1) + 1);
        share_in_pieces(NAMED(multiply_turned_part), &job, (job.n + TALL - 1) / TALL, 2,
                        FEW_PRODUCTS / (job.m * job.depth * TALL + 1) + 1);
    }
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
    const int64_t lines = WIDTH / 32 + 1, some = tall * lines < f->k ? tall * lines : f->k;
    const float *w = f->out + at, *velocity = f->velocity + at;
    for (int64_t k = 0; k < some; k++) {
        const int64_t line = k / lines * f->n + k % lines * 16;
        __builtin_prefetch(w + line, 1);
        __builtin_prefetch(velocity + line, 1);
        NAMED(add_values)(rows, k * TALL, (const Vector *)(panel + k * BROAD), 1, sum);
    }
    for (int64_t k = some; k < f->k; k++) {
        const Vector *columns = (const Vector *)(panel + k * BROAD);
        __builtin_prefetch(columns + 2 * AHEAD);
        __builtin_prefetch(columns + 2 * AHEAD + 1);
        NAMED(add_values)(rows, k * TALL, columns, 1, sum);
    }
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
            for (int i = 0; i < TALL; i++) out[i] = a[i];
        else
            for (int i = 0; i < TALL; i++) out[i] = i < tall ? a[i] : 0.0f;
    }
}

/* Take a step of rows TALL first to TALL last of the weights, in some columns at a time. */
TILED void NAMED(step_tiles)(const Factors *f, int64_t first, int64_t last) {
    const int64_t size = TALL * f->k, panels = PANELS / (BROAD * f->k), strip = (panels > 0 ? panels : 1) * BROAD;
    for (int64_t from = 0; from < f->n; from += strip)
        for (int64_t p = first; p < last; p++) {
            const int64_t row = p * TALL, tall = f->m - row < TALL ? f->m - row : TALL;
            const float *rows[TALL];
            for (int i = 0; i < TALL; i++) rows[i] = f->left + p * size + i;
            if (from == 0) NAMED(turn_columns)(f, row, tall, f->left + p * size);
            for (int64_t j = from; j < from + strip && j < f->n; j += BROAD) {
                Vector tile[TALL][2];
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
#undef DEEP
#undef PANELS
#undef WIDTH
