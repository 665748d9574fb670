/* Loops on the threads of the BLAS.

OpenBLAS's threads spin for some milliseconds after a product, each on its own processor. Other threads would have to
wait until they stop; loops therefore run as jobs of these threads, through `exec_blas`, the function that OpenBLAS's
own routines use. No thread is started here; OpenBLAS handles limits and forks. loops.py lists the supported libraries;
with others, a loop runs on the calling thread.

Each thread takes a range of pieces that depends on the number of threads. In long loops, a thread that has finished
helps the others: cores differ in speed, and other programs hold them up. Results do not depend on who computes what:
the instructions that compute a value are fixed, and no sum runs over pieces. */

#include <stdint.h>

#define MAX_THREADS 64

/* Work on units first to last. Each thread of a loop has a slot, from 0 to MAX_THREADS - 1. */
typedef void Part(void *job, int64_t first, int64_t last, int slot);

#if defined(__linux__) && defined(__LP64__)

#include <pthread.h>
#include <stdatomic.h>

/* A thread's share of a loop, whose next unit is `next`. */
typedef struct Share {
    Part *part;
    void *job;
    _Atomic int64_t next;
    int64_t last, piece;
    struct Share *all;
    int slot, n;
} Share;

/* OpenBLAS's `blas_queue_t`: the task of one thread. */
typedef struct Task {
    void *routine;
    long position, assigned;
    void *arguments, *range_m, *range_n, *sa, *sb;
    struct Task *next;
    pthread_mutex_t lock;
    pthread_cond_t finished;
    int mode, status;
} Task;

#define CALL_WITH_ARGUMENTS 0x4000 /* mode in which a routine receives only its arguments */

typedef int Count(void);
typedef int Execute(long n, Task *tasks);

static Count *_Atomic count_threads;
static Execute *_Atomic execute;

/* Set the BLAS's functions that count its threads and run tasks on them; 0: run each loop on the calling thread. */
static void follow(Count *count, Execute *run) {
    atomic_store(&count_threads, count);
    atomic_store(&execute, run);
}

/* Work on a thread's own share, then on what is left of the others' if they consist of pieces. */
static void run_share(Share *own) {
    for (int i = 0; i < (own->piece ? own->n : 1); i++) {
        Share *share = &own->all[(own->slot + i) % own->n];
        const int64_t last = share->last, piece = own->piece ? own->piece : last;
        for (int64_t at; (at = atomic_fetch_add_explicit(&share->next, piece, memory_order_relaxed)) < last;)
            own->part(own->job, at, last - at < piece ? last : at + piece, own->slot);
    }
}

/* Return the number of threads of a loop with many pieces. */
static int64_t thread_count(void) {
    Count *count = atomic_load_explicit(&count_threads, memory_order_relaxed);
    const int64_t n = count && atomic_load_explicit(&execute, memory_order_relaxed) ? count() : 1;
    return n < MAX_THREADS ? n : MAX_THREADS;
}

/* Work on `total` units: each thread on a multiple of `grain` units, one piece after the other, or on all of them at once
   if `piece` is 0. There are at most `most` threads, and one if there are fewer than `least` units. */
static void divide(Part *part, void *job, int64_t total, int64_t grain, int64_t least, int64_t piece, int64_t most) {
    if (total < 1) return;
    Execute *run = atomic_load_explicit(&execute, memory_order_relaxed);
    const int64_t pieces = (total + grain - 1) / grain;
    int64_t n = total >= least && pieces > 1 ? thread_count() : 1;
    n = n < pieces ? n : pieces;
    n = n < most ? n : most;
    if (n < 2 || !run) {
        part(job, 0, total, 0);
        return;
    }
    Share shares[MAX_THREADS];
    Task tasks[MAX_THREADS];
    memset(tasks, 0, (size_t)n * sizeof *tasks);
    for (int64_t i = 0; i < n; i++) {
        const int64_t last = pieces * (i + 1) / n * grain;
        shares[i] = (Share){part, job, pieces * i / n * grain, last < total ? last : total, piece, shares, (int)i, (int)n};
        tasks[i].routine = (void *)run_share;
        tasks[i].arguments = &shares[i];
        tasks[i].position = i;
        tasks[i].mode = CALL_WITH_ARGUMENTS;
        tasks[i].next = i + 1 < n ? &tasks[i + 1] : 0;
    }
    run(n, tasks);
}

#else

static void follow(void *count, void *run) { (void)count, (void)run; }

static int64_t thread_count(void) { return 1; }

static void divide(Part *part, void *job, int64_t total, int64_t grain, int64_t least, int64_t piece, int64_t most) {
    (void)grain, (void)least, (void)piece, (void)most;
    if (total > 0) part(job, 0, total, 0);
}

#endif

/* Work on `total` units in ranges of a multiple of `grain` units, one for each thread. */
static void share(Part *part, void *job, int64_t total, int64_t grain, int64_t least) {
    divide(part, job, total, grain, least, 0, MAX_THREADS);
}

/* Do the same in pieces of `grain` units, for which the part may be called in any order. */
static void share_in_pieces(Part *part, void *job, int64_t total, int64_t grain, int64_t least) {
    divide(part, job, total, grain, least, grain, MAX_THREADS);
}

/* Do the same in single units, on at most `most` threads. */
static void share_among(Part *part, void *job, int64_t total, int64_t most, int64_t least) {
    divide(part, job, total, 1, least, 1, most);
}

static void slot_part(void *job, int64_t first, int64_t last, int slot) {
    int64_t *slots = job;
    for (; first < last; first++) slots[first] = slot;
}

/* Write which thread took each of `total` units. */
static void slots(int64_t *out, int64_t total) { share(slot_part, out, total, 1, 0); }

/* Return the number of threads of a long loop. */
static int64_t loop_threads(void) { return thread_count(); }
