"""CUDA sources of the fused operations, as text; tests compile them on any machine with a C++ compiler.

`numpy_backend` defines each operation, and `sparse` those on rows in compressed form. A thread of an element-wise
kernel handles four adjacent elements.

Random draws come from Philox4x32-10, a generator without a state: four random words are a function of a key and a
counter [1]_. Element ``i`` takes word ``i % 4`` of counter ``first + i // 4 * 2``; in float64 it takes its lower bits
from the same word of the next counter, so that both precisions draw the same numbers. The host therefore knows how
many counters a draw uses, and no draw depends on how the work is divided among threads.

References
----------
.. [1] J. K. Salmon, M. A. Moraes, R. O. Dror and D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC '11.
"""

THREADS = 128  # threads of a block; 100 x 500 elements then take 98 blocks, about one for each processor of a large GPU
NEIGHBOURS = 4  # elements handled by a thread of an element-wise kernel
COLUMNS, ROWS = 32, 8  # threads of a block of `weigh`; adjacent columns are adjacent in memory

COMMON = r"""
typedef long long Index;  // arrays may have more than 2**31 elements

template <typename T>
struct alignas(4 * sizeof(T)) Four {
    T at[4];
};

__device__ inline Index first_of_four() {
    return 4 * (blockIdx.x * (Index)blockDim.x + threadIdx.x);
}

// Whether the four elements from x[i] on exist and are aligned, so that they are read and written in one access.
template <typename T>
__device__ inline bool in_one_piece(const T* x, const Index i, const Index n) {
    return i + 4 <= n && (unsigned long long)(x + i) % sizeof(Four<T>) == 0;
}

template <typename T>
__device__ inline Four<T> load(const T* x, const Index i, const Index n) {
    if (in_one_piece(x, i, n)) return *(const Four<T>*)(x + i);
    Four<T> four = {};
    for (int k = 0; k < 4; k++)
        if (i + k < n) four.at[k] = x[i + k];
    return four;
}

template <typename T>
__device__ inline void store(T* x, const Index i, const Index n, const Four<T>& four) {
    if (in_one_piece(x, i, n)) {
        *(Four<T>*)(x + i) = four;
        return;
    }
    for (int k = 0; k < 4; k++)
        if (i + k < n) x[i + k] = four.at[k];
}
"""

PHILOX = r"""
typedef unsigned long long Word64;

// Ten rounds of Philox4x32 turn a counter, in place, into four random words.
__device__ inline void philox(unsigned* at, unsigned key0, unsigned key1) {
    for (int round = 0; round < 10; round++) {
        const Word64 a = (Word64)0xD2511F53u * at[0], b = (Word64)0xCD9E8D57u * at[2];
        at[0] = (unsigned)(b >> 32) ^ at[1] ^ key0;
        at[1] = (unsigned)b;
        at[2] = (unsigned)(a >> 32) ^ at[3] ^ key1;
        at[3] = (unsigned)a;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

// Random words of the four elements from i on: one word each for float; for double, four more for the lower bits.
template <typename T>
struct Words {
    unsigned at[sizeof(T)];

    __device__ Words(const Word64 key, const Word64 first, const Index i) {
        const int counters = sizeof(T) / 4;
        for (int c = 0; c < counters; c++) {
            const Word64 counter = first + i / 4 * 2 + c;
            unsigned* four = at + 4 * c;
            four[0] = (unsigned)counter;
            four[1] = (unsigned)(counter >> 32);
            four[2] = four[3] = 0;
            philox(four, (unsigned)key, (unsigned)(key >> 32));
        }
    }
};

// A draw from [0, 1): the highest 24 or 53 bits.
__device__ inline float uniform_of(const Words<float>& words, const int k) {
    return (words.at[k] >> 8) * (1.0f / 16777216);
}
__device__ inline double uniform_of(const Words<double>& words, const int k) {
    const Word64 bits = (Word64)words.at[k] << 32 | words.at[4 + k];
    return (bits >> 11) * (1.0 / 9007199254740992);
}

// A draw from (0, 1], for the logarithm: all 32 bits, or the tails of float normals would end at 5.8.
__device__ inline float positive_of(const Words<float>& words, const int k) {
    return words.at[k] * (1.0f / 4294967296) + 0.5f / 4294967296;
}
__device__ inline double positive_of(const Words<double>& words, const int k) {
    return uniform_of(words, k) + 0.5 / 9007199254740992;
}

// 1 with probability p to within 2**-24, 0 and 1 being certain.
template <typename T>
__device__ inline T bernoulli_of(const Words<T>& words, const int k, const T p) {
    return uniform_of(words, k) < p ? T(1) : T(0);
}
"""

DRAWS = r"""
template <typename T>
__global__ void bernoulli(const T* p, T* out, const Index n, const Word64 key, const Word64 first) {
    const Index i = first_of_four();
    if (i >= n) return;
    const Words<T> words(key, first, i);
    Four<T> four = load(p, i, n);
    for (int k = 0; k < 4; k++) four.at[k] = bernoulli_of(words, k, four.at[k]);
    store(out, i, n, four);
}

template <typename T>
__global__ void uniform(T* out, const Index n, const Word64 key, const Word64 first) {
    const Index i = first_of_four();
    if (i >= n) return;
    const Words<T> words(key, first, i);
    Four<T> four;
    for (int k = 0; k < 4; k++) four.at[k] = uniform_of(words, k);
    store(out, i, n, four);
}

// Box and Muller: a radius and an angle, in turns, make two draws.
template <typename T>
__global__ void normal(T* out, const Index n, const Word64 key, const Word64 first) {
    const Index i = first_of_four();
    if (i >= n) return;
    const Words<T> words(key, first, i);
    Four<T> four;
    for (int k = 0; k < 4; k += 2) {
        const T radius = sqrt(T(-2) * log(positive_of(words, k)));
        T sine, cosine;
        sincospi(T(2) * uniform_of(words, k + 1), &sine, &cosine);
        four.at[k] = radius * cosine;
        four.at[k + 1] = radius * sine;
    }
    store(out, i, n, four);
}
"""

SIGMOID = r"""
// Four elements of logistic(x + bias); the bias repeats after `period` elements, and may be null.
template <typename T>
__device__ inline Four<T> logistic(const T* x, const T* bias, const Index i, const Index n, const Index period) {
    Four<T> four = load(x, i, n);
    Index j = i % period;
    for (int k = 0; k < 4; k++) {
        const T z = four.at[k] + (bias ? bias[j] : T(0));
        four.at[k] = T(1) / (T(1) + exp(-z));
        if (++j == period) j = 0;
    }
    return four;
}

template <typename T>
__global__ void sigmoid(T* x, const T* bias, const Index n, const Index period) {
    const Index i = first_of_four();
    if (i < n) store(x, i, n, logistic(x, bias, i, n, period));
}

template <typename T>
__global__ void sigmoid_backward(const T* grad, const T* y, T* out, const Index n) {
    const Index i = first_of_four();
    if (i >= n) return;
    Four<T> four = load(grad, i, n);
    const Four<T> at = load(y, i, n);
    for (int k = 0; k < 4; k++) four.at[k] *= (T(1) - at.at[k]) * at.at[k];
    store(out, i, n, four);
}

template <typename T>
__global__ void sigmoid_sample(T* x, const T* bias, T* out, const Index n, const Index period, const Word64 key,
                               const Word64 first) {
    const Index i = first_of_four();
    if (i >= n) return;
    const Words<T> words(key, first, i);
    Four<T> four = logistic(x, bias, i, n, period);
    store(x, i, n, four);
    for (int k = 0; k < 4; k++) four.at[k] = bernoulli_of(words, k, four.at[k]);
    store(out, i, n, four);
}
"""

WEIGH = r"""
// A block takes COLUMNS columns. Its ROWS threads for a column add up every ROWS-th row each, and one of them adds
// their sums, always in the same order: the same bits in every run. Four rows are loaded at a time.
template <typename T>
__global__ void weigh(T* x, const T* weight, T* sums, const Index n_rows, const Index n_columns) {
    __shared__ T part[ROWS][COLUMNS];
    const Index column = blockIdx.x * (Index)COLUMNS + threadIdx.x;
    T sum = 0;
    if (column < n_columns) {
        for (Index start = threadIdx.y; start < n_rows; start += 4 * ROWS) {
            T value[4];
            for (int k = 0; k < 4; k++) {
                const Index row = start + k * ROWS;
                value[k] = row < n_rows ? x[row * n_columns + column] * weight[row] : T(0);
            }
            for (int k = 0; k < 4; k++) {
                const Index row = start + k * ROWS;
                if (row < n_rows) x[row * n_columns + column] = value[k];
                sum += value[k];
            }
        }
    }
    part[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y != 0 || column >= n_columns) return;
    for (int k = 1; k < ROWS; k++) sum += part[k][threadIdx.x];
    sums[column] = sum;
}
""".replace("ROWS", str(ROWS)).replace("COLUMNS", str(COLUMNS))

STEPS = r"""
template <typename T>
__global__ void momentum_step(T* w, T* velocity, const T* grad, const T rate, const T momentum, const T decay,
                              const int nesterov, const Index n) {
    const Index i = first_of_four();
    if (i >= n) return;
    Four<T> w4 = load(w, i, n), v4 = load(velocity, i, n);
    const Four<T> g4 = load(grad, i, n);
    for (int k = 0; k < 4; k++) {
        const T step = rate * (g4.at[k] + decay * w4.at[k]);
        v4.at[k] = momentum * v4.at[k] - step;
        w4.at[k] += nesterov ? momentum * v4.at[k] - step : v4.at[k];
    }
    store(velocity, i, n, v4);
    store(w, i, n, w4);
}

template <typename T>
__global__ void adam_step(T* w, T* mean, T* square, const T* grad, const T rate, const T beta1, const T gain1,
                          const T beta2, const T gain2, const T epsilon, const T decay, const Index n) {
    const Index i = first_of_four();
    if (i >= n) return;
    Four<T> w4 = load(w, i, n), m4 = load(mean, i, n), s4 = load(square, i, n);
    const Four<T> g4 = load(grad, i, n);
    for (int k = 0; k < 4; k++) {
        const T g = g4.at[k] + decay * w4.at[k];
        m4.at[k] = beta1 * m4.at[k] + gain1 * g;
        s4.at[k] = beta2 * s4.at[k] + gain2 * (g * g);
        w4.at[k] -= rate * (m4.at[k] / (sqrt(s4.at[k]) + epsilon));
    }
    store(mean, i, n, m4);
    store(square, i, n, s4);
    store(w, i, n, w4);
}
"""

LOG_ODDS = r"""
// A thread computes one value of out, of shape (n_units, n_rows); x has shape (width, n_rows), v the shape of out.
template <typename T>
__global__ void log_odds(const T* x, const T* v, const T* W, T* out, const Index n_rows, const Index n_units,
                         const Index width) {
    const Index at = blockIdx.x * (Index)blockDim.x + threadIdx.x;
    if (at >= n_rows * n_units) return;
    const T* w = W + at / n_rows * width;
    const T value = v[at];
    T sum = 0;
    for (Index j = 0; j < width; j++) {
        const T off = x[j * n_rows + at % n_rows] - value * w[j], on = off + w[j];
        const T above = exp(on > 0 ? -on : on), below = exp(off > 0 ? -off : off);
        sum += (on > 0 ? on : T(0)) - (off > 0 ? off : T(0)) + log((1 + above) / (1 + below));
    }
    out[at] = sum;
}
"""

# cuSPARSE offers these products, but its transposed one may differ from run to run, and slicing a sparse matrix in CuPy
# makes the host wait.
SPARSE = r"""
// The values of row r, which are sorted by column, lie from ends[r] to ends[r + 1]. Row i of a minibatch is row
// order[start + i] of the table, or row start + i where there is no order.
__device__ inline Index row_at(const Index* order, const Index i) {
    return order ? order[i] : i;
}

// A block writes a row.
template <typename T>
__global__ void rows_dense(const Index* ends, const int* indices, const T* data, const Index* order, T* out,
                           const Index start, const Index n_columns) {
    const Index row = row_at(order, start + blockIdx.x);
    T* to = out + blockIdx.x * n_columns;
    for (Index j = threadIdx.x; j < n_columns; j += blockDim.x) to[j] = 0;
    __syncthreads();
    for (Index k = ends[row] + threadIdx.x; k < ends[row + 1]; k += blockDim.x) to[indices[k]] = data[k];
}

// A thread computes one element of rows @ W, which has `width` columns; adjacent blocks cover a row.
template <typename T>
__global__ void rows_times(const Index* ends, const int* indices, const T* data, const Index* order, const T* W,
                           T* out, const Index start, const Index width) {
    const Index blocks = (width + blockDim.x - 1) / blockDim.x;
    const Index i = blockIdx.x / blocks, j = blockIdx.x % blocks * blockDim.x + threadIdx.x;
    if (j >= width) return;
    const Index row = row_at(order, start + i);
    T sum = 0;
    for (Index k = ends[row]; k < ends[row + 1]; k++) sum += data[k] * W[indices[k] * width + j];
    out[i * width + j] = sum;
}

template <typename T>
__device__ inline T value_at(const int* indices, const T* data, Index low, const Index end, const int column) {
    for (Index high = end; low < high;) {
        const Index middle = low + (high - low) / 2;
        if (indices[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low < end && indices[low] == column ? data[low] : T(0);
}

// out += factor * rows.T @ h. A block takes a column of the rows: each thread looks it up in one row, one thread lists
// the values found, in the order of the rows, and all threads add them up.
template <typename T>
__global__ void rows_transposed_times(const Index* ends, const int* indices, const T* data, const Index* order,
                                      const T* h, T* out, const Index start, const Index n_rows, const Index width,
                                      const T factor) {
    __shared__ T value[THREADS];
    __shared__ int from[THREADS], found;
    for (Index first = 0; first < n_rows; first += THREADS) {
        const Index i = first + threadIdx.x;
        const Index row = i < n_rows ? row_at(order, start + i) : -1;
        value[threadIdx.x] = row < 0 ? T(0) : value_at(indices, data, ends[row], ends[row + 1], (int)blockIdx.x);
        __syncthreads();
        if (threadIdx.x == 0) {
            found = 0;
            for (int t = 0; t < THREADS; t++) {
                if (value[t] == 0) continue;
                value[found] = value[t];
                from[found++] = t;
            }
        }
        __syncthreads();
        for (Index j = threadIdx.x; found > 0 && j < width; j += THREADS) {
            T sum = 0;
            for (int t = 0; t < found; t++) sum += value[t] * h[(first + from[t]) * width + j];
            out[blockIdx.x * width + j] += factor * sum;
        }
        __syncthreads();
    }
}
""".replace("THREADS", str(THREADS))

SOURCE = COMMON + PHILOX + DRAWS + SIGMOID + WEIGH + LOG_ODDS + STEPS + SPARSE
ELEMENTWISE = (
    "bernoulli", "uniform", "normal", "sigmoid", "sigmoid_backward", "sigmoid_sample", "momentum_step", "adam_step",
)  # fmt: skip
KERNELS = (*ELEMENTWISE, "weigh", "log_odds", "rows_dense", "rows_times", "rows_transposed_times")
NAMES = tuple(f"{kernel}<{t}>" for kernel in KERNELS for t in ("float", "double"))
