/* Loops on the threads of the BLAS.

OpenBLAS's threads spin for some milliseconds after a product, each on its own processor. Other threads would have to
wait until they stop; loops therefore run as jobs of these threads, through `exec_blas`, the function that OpenBLAS's
own routines use. No thread is started here; OpenBLAS handles limits and forks. loops.py lists the supported libraries;
with others, a loop runs on the calling thread.

Each thread takes a range of pieces that depends on the number of threads. Results do not: the instructions that compute
a value are fixed, and no sum runs over pieces. */

#include <stdint.h>

#define MAX_THREADS 64

/* Work on units first to last. Each thread of a loop has a slot, from 0 to MAX_THREADS - 1. */
typedef void Part(void *job, int64_t first, int64_t last, int slot);

#if defined(__linux__) && defined(__LP64__)

#include <pthread.h>
#include <stdatomic.h>

/* A thread's share of a loop. */
typedef struct {
    Part *part;
    void *job;
    int64_t first, last;
    int slot;
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
EXPORT void follow(Count *count, Execute *run) {
    atomic_store(&count_threads, count);
    atomic_store(&execute, run);
}

static void run_share(Share *share) { share->part(share->job, share->first, share->last, share->slot); }

/* Return the number of threads of a loop with many pieces. */
static int64_t thread_count(void) {
    Count *count = atomic_load_explicit(&count_threads, memory_order_relaxed);
    const int64_t n = count && atomic_load_explicit(&execute, memory_order_relaxed) ? count() : 1;
    return n < MAX_THREADS ? n : MAX_THREADS;
}

/* Work on `total` units in pieces of `grain` units; on one thread if there are fewer than `least`. */
static void share(Part *part, void *job, int64_t total, int64_t grain, int64_t least) {
    if (total < 1) return;
    Execute *run = atomic_load_explicit(&execute, memory_order_relaxed);
    const int64_t pieces = (total + grain - 1) / grain;
    int64_t n = total >= least && pieces > 1 ? thread_count() : 1;
    n = n < pieces ? n : pieces;
    if (n < 2 || !run) {
        part(job, 0, total, 0);
        return;
    }
    Share shares[MAX_THREADS];
    Task tasks[MAX_THREADS];
    memset(tasks, 0, (size_t)n * sizeof *tasks);
    for (int64_t i = 0; i < n; i++) {
        const int64_t last = pieces * (i + 1) / n * grain;
        shares[i] = (Share){part, job, pieces * i / n * grain, last < total ? last : total, (int)i};
        tasks[i].routine = (void *)run_share;
        tasks[i].arguments = &shares[i];
        tasks[i].position = i;
        tasks[i].mode = CALL_WITH_ARGUMENTS;
        tasks[i].next = i + 1 < n ? &tasks[i + 1] : 0;
    }
    run(n, tasks);
}

#else

EXPORT void follow(void *count, void *run) { (void)count, (void)run; }

static int64_t thread_count(void) { return 1; }

static void share(Part *part, void *job, int64_t total, int64_t grain, int64_t least) {
    (void)grain, (void)least;
    if (total > 0) part(job, 0, total, 0);
}

#endif

static void slot_part(void *job, int64_t first, int64_t last, int slot) {
    int64_t *slots = job;
    for (; first < last; first++) slots[first] = slot;
}

/* Write which thread took each of `total` units. */
EXPORT void slots(int64_t *out, int64_t total) { share(slot_part, out, total, 1, 0); }
