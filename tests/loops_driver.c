/* A program that runs the loops on several threads, for the sanitizers of the compiler: see sanitize_loops.sh.

Every array has exactly the room that a loop may touch. Results on several threads, and of two callers at once, must have
the bits of one thread's. */

#include "../deepbelief/backends/loops.c"

#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 147, WIDTH = 501, VISIBLE = 33, STORED = 20, N = ROWS * WIDTH };

static atomic_int threads = 1;
static int count(void) { return atomic_load(&threads); }

static void *run_task(void *task) {
    const Task *one = task;
    ((void (*)(void *))one->routine)(one->arguments);
    return 0;
}

/* Do what OpenBLAS's function of this kind does. */
static int run_tasks(long n, Task *tasks) {
    pthread_t others[MAX_THREADS];
    for (long i = 1; i < n; i++) pthread_create(&others[i], 0, run_task, &tasks[i]);
    run_task(tasks);
    for (long i = 1; i < n; i++) pthread_join(others[i], 0);
    return 0;
}

static float *numbers(int64_t n, uint32_t seed) {
    float *x = malloc((size_t)n * sizeof *x);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) * (1.0f / 8388608.0f) - 1.0f;
    }
    return x;
}

/* Return memory for `depth` times n values, n rounded up to a multiple. */
static float *room_for(int64_t n, int64_t multiple, int64_t depth) {
    return aligned_alloc(64, (size_t)(((n + multiple - 1) / multiple * multiple * depth * 4 + 63) / 64 * 64));
}

static double *doubles(int64_t n, uint32_t seed) {
    float *x = numbers(n, seed);
    double *y = malloc((size_t)n * sizeof *y);
    for (int64_t i = 0; i < n; i++) y[i] = x[i];
    free(x);
    return y;
}

static uint64_t mix(uint64_t sum, const void *data, size_t size) {
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) sum = (sum ^ bytes[i]) * 1099511628211u;
    return sum;
}

#if __GNUC__ >= 12
/* Return whether the processor has AVX512BW and AVX512-BF16, and for AMX also AMX-BF16 and AMX-TILE, and the system
   allows their use. */
static int has_rounded(int amx) {
    unsigned a, b, c, d, later;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b >> 30 & 1)) return 0;
    if (amx && (!(d >> 22 & 1) || !(d >> 24 & 1))) return 0;
    return __get_cpuid_count(7, 1, &later, &b, &c, &d) && (later >> 5 & 1) && allow_rounded(amx);
}
#endif

/* Run every loop, and return a digest of all results. */
static uint64_t run(void) {
    uint64_t sum = 14695981039346656037u;
    float *x = numbers(N, 1), *y = numbers(N, 2), *z = numbers(N, 3), *bias = numbers(WIDTH, 4), *out = numbers(N, 5);
#define KEEP(array, n) sum = mix(sum, array, (size_t)(n) * sizeof *(array))
    sigmoid(x, bias, ROWS, WIDTH);
    sigmoid_backward(z, x, out, N);
    KEEP(out, N);
    uint64_t state[LANES][4] = {{1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}, {13, 14, 15, 16}};
    uint64_t *lanes[LANES] = {state[0], state[1], state[2], state[3]};
    sample(x, lanes, out, N, 65536);
    KEEP(out, N);
    sample_of_sigmoid(y, bias, lanes, out, N, WIDTH, 65536);
    KEEP(out, N);
    KEEP(&state[0][0], 4 * LANES);
    float *weight = numbers(ROWS, 6), *sums = numbers(WIDTH, 7);
    weigh(z, weight, sums, ROWS, WIDTH);
    KEEP(sums, WIDTH);
    momentum_step(x, y, z, 0.1f, 0.9f, 1e-3f, 1.0f, N);
    settle(x, y, 1e-3f, N);
    for (int i = 0; i < N; i++) out[i] = out[i] * out[i];
    adam_step(x, y, out, z, 1e-3f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 1e-4f, N);
    int64_t *index = malloc(ROWS * sizeof *index);
    for (int i = 0; i < ROWS; i++) index[i] = i * 7 - 3; /* some of which do not exist */
    gather(x, index, out, ROWS, ROWS, WIDTH);
    KEEP(out, N);
    const int64_t sizes[3] = {4, 400, 97};
    float *room = numbers((int64_t)MAX_THREADS * WIDTH, 8), *u = numbers(3 * ROWS, 9);
    softmax(x, bias, sizes, room, ROWS, 3, WIDTH);
    one_hot(x, u, sizes, out, ROWS, 3, WIDTH);
    KEEP(out, N);
    double *hidden = doubles(N, 10), *v = doubles(ROWS * VISIBLE, 11), *W = doubles(VISIBLE * WIDTH, 12);
    double *odds = doubles(ROWS * VISIBLE, 14);
    double *space = doubles((int64_t)MAX_THREADS * (2 * BLOCK_ROWS + 1) * WIDTH, 15);
    int64_t *large = calloc(VISIBLE, sizeof *large);
    for (int i = 0; i < ROWS * VISIBLE; i++) v[i] = v[i] < -0.3 ? 0.0 : v[i] < 0.3 ? 1.0 : v[i];
    log_odds_of_rows(hidden, v, W, space, odds, large, ROWS, VISIBLE, WIDTH);
    KEEP(odds, ROWS * VISIBLE);
    KEEP(large, VISIBLE);
    float *shares = room_for(WIDTH, WIDE, 2);
    log_odds_of_row(hidden, v, x, shares, odds, ROWS, WIDTH);
    KEEP(odds, ROWS);
    double *softplus = doubles(ROWS, 26);
    softplus_sums(hidden, softplus, ROWS, WIDTH, 1);
    KEEP(softplus, ROWS);
    softplus_sums(y, weight, ROWS, WIDTH, 0);
    KEEP(weight, ROWS);
    softplus_changes(y, bias, 0, 0.25, 0.5, softplus, ROWS, WIDTH);
    KEEP(softplus, ROWS);
    softplus_changes(y, z, WIDTH, 1.0, 0.5, softplus, ROWS, WIDTH);
    KEEP(softplus, ROWS);
    weighted_sums(y, W, softplus, ROWS, WIDTH);
    KEEP(softplus, ROWS);
    double *mean = doubles(WIDTH, 16), *squares = doubles(WIDTH, 17);
    float *low = numbers(WIDTH, 18), *high = numbers(WIDTH, 19), *first = numbers(WIDTH, 27);
    int32_t *counts = malloc(WIDTH * sizeof *counts);
    memcpy(out, y, N * sizeof *out);
    for (int i = 0; i < N; i++) out[i] = out[i] < -0.5f || i % WIDTH == 7 ? NAN : out[i];
    column_statistics(out, counts, first, mean, squares, low, high, ROWS, WIDTH);
    KEEP(counts, WIDTH);
    fill(out, z, N);
    KEEP(out, N);
    KEEP(mean, WIDTH);
    KEEP(squares, WIDTH);
    KEEP(low, WIDTH);
    KEEP(high, WIDTH);
    int32_t *ends = malloc((ROWS + 1) * sizeof *ends), *columns = malloc(ROWS * STORED * sizeof *columns);
    int64_t *ends64 = malloc((ROWS + 1) * sizeof *ends64), *columns64 = malloc(ROWS * STORED * sizeof *columns64);
    for (int r = 0; r <= ROWS; r++) ends64[r] = ends[r] = r * STORED;
    for (int k = 0; k < ROWS * STORED; k++) columns64[k] = columns[k] = k % STORED * (ROWS / STORED);
    int32_t *places = malloc(ROWS * sizeof *places);
    int64_t *places64 = malloc(ROWS * sizeof *places64);
    float *data = numbers(ROWS * STORED, 20);
    add_product_32(ends, columns, data, 0.5f, x, out, places, ROWS, ROWS, WIDTH, 16);
    add_product_64(ends64, columns64, data, 0.5f, x, out, places64, ROWS, ROWS, WIDTH, 16);
    float *table = numbers(VISIBLE * WIDTH, 21), *few = numbers(ROWS * VISIBLE, 22), *broad = numbers(N, 23);
    float *panels = room_for(WIDTH, 32, ROWS), *left = room_for(VISIBLE, 30, ROWS);
    float *velocity = numbers(VISIBLE * WIDTH, 24);
    const Factors up = {few, table, broad, 0, 0, 0, ROWS, VISIBLE, WIDTH, 0, 0, 0, 0, 0, 0, 0, 0};
    float *lower = numbers(ROWS * VISIBLE, 28);
    const Factors halves = {broad, table, few, 0, 0, 0, ROWS, WIDTH, VISIBLE, 0, 0, 0, 0, 0, 0, lower, 0};
    const Factors down = {broad, table, few, 0, 0, 0, ROWS, WIDTH, VISIBLE, 1, 0, 0, 0, 0, 0, 0, 0};
    const Factors step = {few, broad, table, panels, left, velocity, VISIBLE, ROWS, WIDTH, 0, 0, 0.1f, 0.9f, 1e-3f, 1,
                          0, 0};
    if (HAS_AVX2) {
        multiply_256(up);
        multiply_256(halves);
        KEEP(few, ROWS * VISIBLE);
        multiply_256(down);
        step_along_256(step);
    }
    if (HAS_AVX512) {
        multiply_512(up);
        multiply_512(halves);
        KEEP(few, ROWS * VISIBLE);
        multiply_512(down);
        step_along_512(step);
    }
#if __GNUC__ >= 12
    const int64_t few_threads = loop_threads() < 3 ? loop_threads() : 3, longest = (WIDTH + 31) / 32 * 16;
    for (int amx = 0; amx < 2; amx++) {
        if (!has_rounded(amx)) continue;
        void *up_room = room_for((VISIBLE + 31) / 32 * 16, 16, ((ROWS + 15) / 16 * 16 + 32) * few_threads);
        void *down_room = room_for(longest, 16, ((VISIBLE + 15) / 16 * 16 + 32) * few_threads);
        void *step_room = room_for((ROWS + 31) / 32 * 16, 16, ((WIDTH + 15) / 16 * 16 + 32) * few_threads);
        void *half_room = room_for((ROWS + 31) / 32 * 16, 16, ((VISIBLE + 15) / 16 * 16 + 32) * few_threads);
        float *sums_room = numbers(N, 29), *wide_table = numbers(N, 30);
        for (int i = 0; i < 2; i++) {
            multiply_rounded(amx, few, 0, table, 0, up_room, few_threads, broad, sums_room, ROWS, VISIBLE, WIDTH, 0.5f, 0.25f);
            multiply_rounded(amx, broad, 0, table, 1, down_room, few_threads, few, sums_room, ROWS, WIDTH, VISIBLE, 1.0f, 0.0f);
            multiply_rounded(amx, few, 0, wide_table, 0, half_room, few_threads, broad, sums_room, VISIBLE, ROWS, WIDTH, 1.0f,
                             0.0f);
            step_rounded(amx, few, broad, table, velocity, step_room, few_threads, 0.1f, 0.9f, 1e-3f, 1, VISIBLE, ROWS,
                         WIDTH);
        }
        free(up_room), free(down_room), free(step_room), free(half_room), free(sums_room), free(wide_table);
    }
#endif
    KEEP(broad, N);
    KEEP(few, ROWS * VISIBLE);
    KEEP(table, VISIBLE * WIDTH);
    KEEP(velocity, VISIBLE * WIDTH);
    KEEP(x, N);
    KEEP(y, N);
    KEEP(z, N);
    KEEP(out, N);
    void *all[] = {x, y, z, bias, out, weight, sums, index, room, u, hidden, v, W, odds, space, mean,
                   squares, low, high, first, counts, ends, columns, ends64, columns64, places,
                   places64, data, table, few, broad, panels, left, lower, velocity, softplus, large, shares};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    return sum;
}

static uint64_t truth;

static void *call(void *failed) {
    for (int i = 0; i < 3; i++)
        if (run() != truth) atomic_store((atomic_int *)failed, 1);
    return 0;
}

int main(void) {
    static atomic_int failed;
    follow(count, run_tasks);
    truth = run();
    for (int n = 2; n <= 4; n++) {
        int64_t taken[9];
        atomic_store(&threads, n);
        slots(taken, 9);
        if (taken[8] != n - 1) atomic_store(&failed, 1);
        call(&failed);
    }
    pthread_t callers[2];
    for (int i = 0; i < 2; i++) pthread_create(&callers[i], 0, call, &failed);
    for (int i = 0; i < 2; i++) pthread_join(callers[i], 0);
    puts(atomic_load(&failed) ? "other bits" : "same bits");
    return atomic_load(&failed);
}
