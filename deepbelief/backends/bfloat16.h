/* Products of float32 matrices whose factors are rounded to bfloat16, by the routine of another library.

Such a library has threads of its own: they would have to wait for those of the BLAS to stop spinning. Therefore each
thread of the BLAS calls the routine for its part of the result, and limits the library to the calling thread. It also
rounds the factors itself, into memory that no other thread writes: memory written by another processor would have to be
fetched from there before each product. */

/* oneDNN's routine and CBLAS's, for matrices that are stored by rows. */
typedef int DnnlGemm(char, char, int64_t, int64_t, int64_t, float, const uint16_t *, int64_t, const uint16_t *, int64_t,
                     float, float *, int64_t);
typedef void CblasGemm(int, int, int, int, int, int, float, const uint16_t *, int, const uint16_t *, int, float,
                       float *, int);

/* A library: one of both routines, and where it has to be limited, the functions that return and set the number of
   threads that a call from this thread may use. */
typedef struct {
    DnnlGemm *dnnl;
    CblasGemm *cblas;
    int (*count)(void);
    void (*limit)(int);
} Library;

/* A factor: its float32 numbers, whether they are stored by columns, and a number by which they are multiplied. oneDNN
   multiplies a result with AMX in a loop of single numbers, which takes several times as long as the product. */
typedef struct {
    const float *numbers;
    int64_t turned;
    float times;
} Factor;

typedef struct {
    const Library *library;
    Factor left, right;
    uint16_t *own, *common;
    float *out;
    int64_t m, k, n, by_rows;
    float keep;
} Reduced;

/* Write the upper halves of numbers times a factor, rounded to the nearest, ties to even: columns first to last of a
   matrix. */
LOOP void round_columns(const float *restrict numbers, float times, uint16_t *restrict out, int64_t rows, int64_t width,
                        int64_t first, int64_t last) {
    const int64_t n = last - first;
    numbers += first;
    for (int64_t r = 0; r < rows; r++, numbers += width, out += n)
        for (int64_t j = 0; j < n; j++) {
            const float number = numbers[j] * times;
            uint32_t word;
            memcpy(&word, &number, sizeof word);
            out[j] = (uint16_t)((word + 0x7FFFu + ((word >> 16) & 1u)) >> 16);
        }
}

/* Compute rows first to last of the result, or columns. */
static void multiply_reduced_part(void *job, int64_t first, int64_t last, int slot) {
    const Reduced *r = job;
    const Library *library = r->library;
    const int64_t k = r->k, size = last - first, rest = r->by_rows ? r->n : r->m, all = r->by_rows ? r->m : r->n;
    const Factor *divided = r->by_rows ? &r->left : &r->right, *whole = r->by_rows ? &r->right : &r->left;
    uint16_t *own = r->own + first * k, *common = r->common + slot * rest * k;
    if (r->by_rows ? divided->turned : !divided->turned)
        round_columns(divided->numbers, divided->times, own, k, all, first, last);
    else
        round_columns(divided->numbers + first * k, divided->times, own, 1, size * k, 0, size * k);
    round_columns(whole->numbers, whole->times, common, 1, rest * k, 0, rest * k);
    const int64_t m = r->by_rows ? size : r->m, n = r->by_rows ? r->n : size;
    const uint16_t *a = r->by_rows ? own : common, *b = r->by_rows ? common : own;
    const int64_t a_width = r->left.turned ? m : k, b_width = r->right.turned ? k : n;
    float *out = r->out + first * (r->by_rows ? r->n : 1);
    const int before = library->limit ? library->count() : 0;
    if (library->limit) library->limit(1);
    if (library->dnnl)
        library->dnnl(r->left.turned ? 'T' : 'N', r->right.turned ? 'T' : 'N', m, n, k, 1.0f, a, a_width, b,
                      b_width, r->keep, out, r->n);
    else
        library->cblas(101, r->left.turned ? 112 : 111, r->right.turned ? 112 : 111, (int)m, (int)n, (int)k,
                       1.0f, a, (int)a_width, b, (int)b_width, r->keep, out, (int)r->n);
    if (library->limit) library->limit(before);
}

#define STRIPE 16 /* rows or columns of the result: the part of each thread is a multiple */

/* Return the number of threads of a long loop. */
EXPORT int64_t loop_threads(void) { return thread_count(); }

/* Write keep * out + left * (factor * right), of m x k and k x n values. `own` is room for k times the larger of m and n,
   and `common` for k times the smaller of them for each of at most `threads` threads. */
EXPORT void multiply_reduced(const Library *library, const float *left, int64_t left_turned, const float *right,
                             int64_t right_turned, uint16_t *own, uint16_t *common, int64_t threads, float *out,
                             int64_t m, int64_t k, int64_t n, float factor, float keep) {
    const int64_t total = m > n ? m : n, rest = m > n ? n : m, stripes = (total + STRIPE - 1) / STRIPE;
    Reduced job = {library, {left, left_turned, 1.0f}, {right, right_turned, factor}, own, common, out, m, k, n, m > n,
                   keep};
    share(multiply_reduced_part, &job, total, (stripes + threads - 1) / threads * STRIPE,
          FEW_PRODUCTS / (rest * k + 1) + 1);
}
